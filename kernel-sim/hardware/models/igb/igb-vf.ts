/**
 * A virtual function of the 82576 (datasheet section 8.28): its two pairs of queues, its three vectors, its side of the
 * mailbox. The rest belongs to the physical function.
 *
 * @module
 */
import type { AccessWidth } from "../../../../core/kernel.ts";
import type { FunctionDescription } from "../../description.ts";
import { allOnes } from "../../little-endian.ts";
import type { DeviceModel, DevicePort } from "../../model.ts";
import { igbVfDescription, REGISTERS_BAR } from "./description.ts";
import { ExtendedInterrupts } from "./extended-interrupts.ts";
import type { QueueOwner } from "./queue.ts";
import { type Direction, queueDirection, queueIndex, queuePlace, queueRegister } from "./queue-place.ts";
import * as registers from "./registers.ts";

const VECTORS = 0x7;

/** What a virtual function asks of its physical one. */
export interface PhysicalFunction {
	/** A virtual function is there, or not any more. */
	virtualAttached(pool: number, vf: IgbVf): void;
	virtualDetached(pool: number): void;
	/** VTCTRL.RST, or a function level reset: its queues stop. */
	virtualReset(pool: number): void;
	readStatus(): number;
	readMailbox(pool: number): number;
	writeMailbox(pool: number, value: number): void;
	readMailboxMemory(pool: number, offset: number): number;
	writeMailboxMemory(pool: number, offset: number, value: number): void;
	readQueue(direction: Direction, queue: number, register: number): number;
	writeQueue(direction: Direction, queue: number, register: number, value: number): void;
}

/** The virtual function. */
export class IgbVf implements DeviceModel, QueueOwner {
	readonly #physical: PhysicalFunction;
	readonly #pool: number;
	readonly #interrupts = new ExtendedInterrupts(VECTORS, (vector) => this.#port?.signal(vector));
	/** VTIVAR, VTIVAR_MISC, VTEITR. */
	readonly #registers = new Map<number, number>();
	#port: DevicePort | undefined;
	#received = 0;
	#transmitted = 0;

	/** @param pool which virtual function, from 0 */
	constructor(physical: PhysicalFunction, pool: number) {
		this.#physical = physical;
		this.#pool = pool;
	}

	/** The function it lives in: 8086:10ca. */
	static description(): FunctionDescription {
		return igbVfDescription();
	}

	attach(port: DevicePort): void {
		this.#port = port;
		this.#physical.virtualAttached(this.#pool, this);
	}

	detach(): void {
		this.#physical.virtualDetached(this.#pool);
		this.#port = undefined;
	}

	reset(): void {
		this.#interrupts.reset();
		this.#registers.clear();
		this.#received = 0;
		this.#transmitted = 0;
		this.#physical.virtualReset(this.#pool);
	}

	/** A narrow read is a part of the register. */
	read(bar: number, offset: number, width: AccessWidth): number {
		if (bar !== REGISTERS_BAR) return 0;
		return ((this.#read(offset & ~3) >>> (8 * (offset & 3))) & allOnes(width)) >>> 0;
	}

	/** Registers take aligned writes of 4 bytes; what else comes is dropped. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		if (bar === REGISTERS_BAR && width === 4 && (offset & 3) === 0) this.#write(offset, value);
	}

	dmaRead(address: bigint, into: Uint8Array): boolean {
		return this.#port?.dmaRead(address, into) ?? false;
	}

	dmaWrite(address: bigint, from: Uint8Array): boolean {
		return this.#port?.dmaWrite(address, from) ?? false;
	}

	/** One of its queues has written descriptors back. @param queue 0 or 1 of its own */
	queue(queue: number, direction: Direction): void {
		const entries = this.#registers.get(registers.VTIVAR) ?? 0;
		this.#raiseEntry(entries >>> (16 * queue + (direction === "receive" ? 0 : 8)));
	}

	/** The physical function has something in the mailbox. */
	mail(): void {
		this.#raiseEntry(this.#registers.get(registers.VTIVAR_MISC) ?? 0);
	}

	/** A frame was put into its queues. */
	received(): void {
		this.#received = (this.#received + 1) >>> 0;
	}

	/** A frame left its queues. */
	transmitted(): void {
		this.#transmitted = (this.#transmitted + 1) >>> 0;
	}

	/** A pool's second pair of queues is 8 further on. */
	#queue(place: number): number {
		return this.#pool + 8 * queueIndex(place);
	}

	#raiseEntry(entry: number): void {
		if ((entry & registers.IVAR_VALID) === 0) return;
		this.#interrupts.raise(1 << (entry & 3));
		this.#announce();
	}

	#announce(): void {
		this.#interrupts.announce(true);
	}

	#read(offset: number): number {
		const place = queuePlace(offset, false);
		if (place >= 0) return this.#physical.readQueue(queueDirection(place), this.#queue(place), queueRegister(place));
		if (offset >= registers.VMB_MEMORY && offset < registers.VMB_MEMORY + 64)
			return this.#physical.readMailboxMemory(this.#pool, offset - registers.VMB_MEMORY);
		switch (offset) {
			case registers.VTSTATUS:
				return this.#physical.readStatus();
			case registers.VF_MAILBOX:
				return this.#physical.readMailbox(this.#pool);
			case registers.VTEIMS:
				return this.#interrupts.mask;
			case registers.VTEIAC:
				return this.#interrupts.autoClear;
			case registers.VTEIAM:
				return this.#interrupts.autoMask;
			case registers.VTEICR:
				return this.#interrupts.causes;
			case registers.VF_RECEIVED:
				return this.#received;
			case registers.VF_TRANSMITTED:
				return this.#transmitted;
			default:
				return this.#registers.get(offset) ?? 0;
		}
	}

	#write(offset: number, value: number): void {
		const place = queuePlace(offset, false);
		if (place >= 0) {
			this.#physical.writeQueue(queueDirection(place), this.#queue(place), queueRegister(place), value);
			return;
		}
		if (offset >= registers.VMB_MEMORY && offset < registers.VMB_MEMORY + 64) {
			this.#physical.writeMailboxMemory(this.#pool, offset - registers.VMB_MEMORY, value);
			return;
		}
		switch (offset) {
			case registers.VTCTRL:
				if ((value & registers.CTRL_RESET) !== 0) this.reset();
				return;
			case registers.VF_MAILBOX:
				this.#physical.writeMailbox(this.#pool, value);
				return;
			case registers.VTEICS:
				this.#interrupts.raise(value);
				break;
			case registers.VTEIMS:
				this.#interrupts.setMask(value);
				break;
			case registers.VTEIMC:
				this.#interrupts.clearMask(value);
				break;
			case registers.VTEIAC:
				this.#interrupts.autoClear = value & VECTORS;
				break;
			case registers.VTEIAM:
				this.#interrupts.autoMask = value & VECTORS;
				break;
			case registers.VTEICR:
				this.#interrupts.clear(value);
				break;
			case registers.VTIVAR:
			case registers.VTIVAR_MISC:
				this.#registers.set(offset, value);
				return;
			default:
				if (offset >= registers.VTEITR && offset < registers.VTEITR + 12) this.#registers.set(offset, value & 0x7fff);
				return;
		}
		this.#announce();
	}
}
