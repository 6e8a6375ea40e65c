/**
 * What receive and transmit queues have in common: a ring of descriptors in memory, and the registers that place it (82576
 * datasheet, sections 7.1.4 and 7.2.2).
 *
 * @module
 */
import * as registers from "./registers.ts";

/** Bytes of every descriptor. */
export const DESCRIPTOR_SIZE = 16;

/** Whose queue it is, physical or virtual function: its DMA carries that function's id. */
export interface QueueOwner {
	dmaRead(address: bigint, into: Uint8Array): boolean;
	dmaWrite(address: bigint, from: Uint8Array): boolean;
}

/** A ring. */
export class Queue {
	/** 0 to 15. */
	readonly index: number;
	/** The descriptor the controller takes next. */
	head = 0;
	/** One past the last descriptor that software has given. */
	tail = 0;
	/** RXDCTL or TXDCTL. */
	control = 0;
	protected readonly descriptor = new Uint8Array(DESCRIPTOR_SIZE);
	protected readonly view = new DataView(this.descriptor.buffer);
	readonly #owner: (index: number) => QueueOwner | undefined;
	#baseLow = 0;
	#baseHigh = 0;
	#length = 0;
	#base = 0n;

	/** @param owner asked at each access, since virtual functions come and go */
	constructor(index: number, owner: (index: number) => QueueOwner | undefined) {
		this.index = index;
		this.#owner = owner;
		this.control = powerOnControl(index);
	}

	reset(): void {
		this.head = 0;
		this.tail = 0;
		this.#baseLow = 0;
		this.#baseHigh = 0;
		this.#base = 0n;
		this.#length = 0;
		this.control = powerOnControl(this.index);
	}

	get enabled(): boolean {
		return (this.control & registers.QUEUE_ENABLE) !== 0;
	}

	/** Descriptors in the ring. */
	get size(): number {
		return this.#length / DESCRIPTOR_SIZE;
	}

	/** Descriptors that software has given and the controller has not taken; 0 for a ring whose pointers make no sense. */
	get available(): number {
		const { size } = this;
		if (this.tail >= size || this.head >= size) return 0;
		return (this.tail - this.head + size) % size;
	}

	/** @param register from the start of the queue's block */
	readRegister(register: number): number {
		switch (register) {
			case registers.Q_BASE_LOW:
				return this.#baseLow;
			case registers.Q_BASE_HIGH:
				return this.#baseHigh;
			case registers.Q_LENGTH:
				return this.#length;
			case registers.Q_HEAD:
				return this.head;
			case registers.Q_TAIL:
				return this.tail;
			case registers.Q_CONTROL:
				return this.control >>> 0;
			default:
				return 0;
		}
	}

	writeRegister(register: number, value: number): void {
		switch (register) {
			case registers.Q_BASE_LOW:
				// Rings are aligned to 128 bytes.
				this.#baseLow = (value & ~0x7f) >>> 0;
				break;
			case registers.Q_BASE_HIGH:
				this.#baseHigh = value >>> 0;
				break;
			case registers.Q_LENGTH:
				this.#length = value & 0xfff80;
				return;
			case registers.Q_HEAD:
				this.head = value & 0xffff;
				return;
			case registers.Q_TAIL:
				this.tail = value & 0xffff;
				return;
			case registers.Q_CONTROL:
				this.control = value & 0x07ffffff;
				return;
			default:
				return;
		}
		this.#base = (BigInt(this.#baseHigh) << 32n) | BigInt(this.#baseLow);
	}

	/** The function whose queue this is; undefined while nobody has it. */
	protected get owner(): QueueOwner | undefined {
		return this.#owner(this.index);
	}

	/** Reads the descriptor at the head. @returns false when memory could not be read */
	protected fetch(): boolean {
		return this.owner?.dmaRead(this.address(), this.descriptor) ?? false;
	}

	/** Where the descriptor at the head is, or a part of it. */
	protected address(offset = 0): bigint {
		return this.#base + BigInt(this.head * DESCRIPTOR_SIZE + offset);
	}

	/** The descriptor at the head is done with. */
	protected advance(): void {
		this.head = this.head + 1 >= this.size ? 0 : this.head + 1;
	}

	/** A ring that memory does not answer for goes no further until software enables it again. */
	protected stop(): void {
		this.control &= ~registers.QUEUE_ENABLE;
	}
}

/** Only the first queue starts enabled (sections 8.10.9 and 8.12.13). */
function powerOnControl(index: number): number {
	return index === 0 ? registers.QUEUE_ENABLE : 0;
}
