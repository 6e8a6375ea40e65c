/**
 * The educational device "edu", as QEMU's documentation (docs/specs/edu.rst) describes it: factorials, interrupts on
 * request, and a DMA engine with a buffer of 4096 bytes.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { msi } from "../capabilities.ts";
import type { FunctionDescription } from "../description.ts";
import type { DeviceModel, DevicePort } from "../model.ts";

const IDENTIFICATION = 0x00;
const LIVENESS = 0x04;
const FACTORIAL = 0x08;
const STATUS = 0x20;
const INTERRUPT_STATUS = 0x24;
const INTERRUPT_RAISE = 0x60;
const INTERRUPT_ACKNOWLEDGE = 0x64;
/** From here on accesses may be 8 bytes wide; below, 4 only. */
const DMA_REGISTERS = 0x80;
const DMA_SOURCE = 0x80;
const DMA_DESTINATION = 0x88;
const DMA_COUNT = 0x90;
const DMA_COMMAND = 0x98;

const STATUS_COMPUTING = 0x01;
const STATUS_INTERRUPT = 0x80;
const COMMAND_START = 1n;
const COMMAND_TO_RAM = 2n;
const COMMAND_INTERRUPT = 4n;

const FACTORIAL_DONE = 0x001;
const DMA_DONE = 0x100;

/** Version 1.0 of the device: 0xRRrr00ed with RR 1 and rr 0. */
const IDENTITY = 0x010000ed;
/** Where the DMA engine sees the buffer. Only the engine does: through BAR 0 there is nothing. */
const BUFFER_START = 0x40000n;
const BUFFER_SIZE = 4096;
const ONES_64 = 0xffff_ffff_ffff_ffffn;

/** Options of {@link Edu}. */
export interface EduOptions {
	/** The bits of a DMA address the device has wires for; 28 bits (256 MiB) when left out. Others are cut off. */
	readonly dmaMask?: bigint;
	/**
	 * Nanoseconds that a factorial or a transfer takes. When left out the write that starts it finishes it, so that a
	 * program which polls without yielding to the event loop ends.
	 */
	readonly duration?: number;
}

/**
 * The educational device.
 *
 * @example
 * ```ts
 * machine.plug("0000:01:00.0", new PciFunction(Edu.description(), new Edu()));
 * ```
 */
export class Edu implements DeviceModel {
	/** Transfers that were refused, since they would have left the buffer. */
	refusedTransfers = 0;
	/** Accesses of a width the device does not take. */
	refusedAccesses = 0;
	readonly #dmaMask: bigint;
	readonly #duration: number;
	readonly #buffer = new Uint8Array(BUFFER_SIZE);
	#port: DevicePort | undefined;
	#liveness = 0;
	#factorial = 0;
	#status = 0;
	#interrupts = 0;
	#source = 0n;
	#destination = 0n;
	#count = 0n;
	#command = 0n;
	#computing: Disposable | undefined;
	#transferring: Disposable | undefined;

	constructor(options: EduOptions = {}) {
		this.#dmaMask = options.dmaMask ?? 0x0fff_ffffn;
		this.#duration = options.duration ?? 0;
	}

	/** The function it lives in: 1234:11e8, BAR 0 of 1 MiB, INTA# and one MSI vector. */
	static description(): FunctionDescription {
		return {
			name: "edu",
			vendor: 0x1234,
			device: 0x11e8,
			revision: 0x10,
			classCode: 0x00ff00,
			subsystemVendor: 0x1af4,
			subsystemDevice: 0x1100,
			interruptPin: 1,
			bars: [{ index: 0, kind: "mem32", size: 0x100000, backing: "registers" }],
			capabilities: [msi({ offset: 0x40 })],
		};
	}

	attach(port: DevicePort): void {
		this.#port = port;
	}

	/** The device has no reset of its own: its registers stay as they are, only its interrupt line is let go. */
	reset(): void {
		this.#port?.setIntx(false);
	}

	detach(): void {
		this.#stop();
		this.#port = undefined;
	}

	read(_bar: number, offset: number, width: AccessWidth): number {
		if (width !== 4) return this.#refuse();
		switch (offset) {
			case IDENTIFICATION:
				return IDENTITY;
			case LIVENESS:
				return this.#liveness;
			case FACTORIAL:
				return this.#factorial;
			case STATUS:
				return this.#status;
			case INTERRUPT_STATUS:
				return this.#interrupts;
			default:
				return Number(this.#dmaRegister(offset) & 0xffff_ffffn);
		}
	}

	read64(_bar: number, offset: number): bigint {
		if (offset < DMA_REGISTERS) {
			this.refusedAccesses += 1;
			return ONES_64;
		}
		return this.#dmaRegister(offset);
	}

	write(_bar: number, offset: number, width: AccessWidth, value: number): void {
		if (width !== 4) {
			this.refusedAccesses += 1;
			return;
		}
		switch (offset) {
			case LIVENESS:
				this.#liveness = ~value >>> 0;
				return;
			case FACTORIAL:
				// The device computes one at a time: a value written meanwhile is lost.
				if ((this.#status & STATUS_COMPUTING) !== 0) return;
				this.#factorial = value >>> 0;
				this.#status |= STATUS_COMPUTING;
				this.#computing = this.#after(() => this.#finishFactorial());
				return;
			case STATUS:
				this.#status = (this.#status & STATUS_COMPUTING) | (value & STATUS_INTERRUPT);
				return;
			case INTERRUPT_RAISE:
				this.#raise(value);
				return;
			case INTERRUPT_ACKNOWLEDGE:
				this.#interrupts = (this.#interrupts & ~value) >>> 0;
				if (this.#interrupts === 0) this.#port?.setIntx(false);
				return;
			default:
				if (offset >= DMA_REGISTERS) this.#writeDmaRegister(offset, BigInt(value >>> 0));
		}
	}

	write64(_bar: number, offset: number, value: bigint): void {
		if (offset < DMA_REGISTERS) this.refusedAccesses += 1;
		else this.#writeDmaRegister(offset, value);
	}

	/** Narrower accesses than the device takes never reach it, and read as nothing. */
	#refuse(): number {
		this.refusedAccesses += 1;
		return 0;
	}

	#dmaRegister(offset: number): bigint {
		switch (offset) {
			case DMA_SOURCE:
				return this.#source;
			case DMA_DESTINATION:
				return this.#destination;
			case DMA_COUNT:
				return this.#count;
			case DMA_COMMAND:
				return this.#command;
			default:
				return ONES_64;
		}
	}

	/** A write of 4 bytes sets the whole register: the upper half has no address of its own. */
	#writeDmaRegister(offset: number, value: bigint): void {
		if ((this.#command & COMMAND_START) !== 0n) return;
		switch (offset) {
			case DMA_SOURCE:
				this.#source = value;
				return;
			case DMA_DESTINATION:
				this.#destination = value;
				return;
			case DMA_COUNT:
				this.#count = value;
				return;
			case DMA_COMMAND:
				// Without the start bit the command register does not take anything.
				if ((value & COMMAND_START) === 0n) return;
				this.#command = value;
				this.#transferring = this.#after(() => this.#finishTransfer());
		}
	}

	#finishFactorial(): void {
		this.#computing = undefined;
		this.#factorial = factorial(this.#factorial);
		this.#status &= ~STATUS_COMPUTING;
		if ((this.#status & STATUS_INTERRUPT) !== 0) this.#raise(FACTORIAL_DONE);
	}

	#finishTransfer(): void {
		this.#transferring = undefined;
		const toRam = (this.#command & COMMAND_TO_RAM) !== 0n;
		const inBuffer = (toRam ? this.#source : this.#destination) - BUFFER_START;
		if (inBuffer < 0n || inBuffer + this.#count > BigInt(BUFFER_SIZE)) this.refusedTransfers += 1;
		else {
			const bytes = this.#buffer.subarray(Number(inBuffer), Number(inBuffer + this.#count));
			const address = (toRam ? this.#destination : this.#source) & this.#dmaMask;
			// The engine does not look at errors: a fault is the IOMMU's to report.
			if (toRam) this.#port?.dmaWrite(address, bytes);
			else this.#port?.dmaRead(address, bytes);
		}
		const interrupt = (this.#command & COMMAND_INTERRUPT) !== 0n;
		this.#command &= ~COMMAND_START;
		if (interrupt) this.#raise(DMA_DONE);
	}

	#raise(causes: number): void {
		this.#interrupts = (this.#interrupts | causes) >>> 0;
		if (this.#interrupts !== 0 && this.#port?.signal(0) === false) this.#port.setIntx(true);
	}

	/** Runs the end of a job: at once, or after the configured time. */
	#after(finish: () => void): Disposable | undefined {
		if (this.#duration > 0 && this.#port !== undefined) return this.#port.clock.timer(this.#duration, finish);
		finish();
		return undefined;
	}

	#stop(): void {
		this.#computing?.[Symbol.dispose]();
		this.#transferring?.[Symbol.dispose]();
		this.#computing = undefined;
		this.#transferring = undefined;
	}
}

/** n! modulo 2^32, as a 32-bit multiplier computes it. From 34! on it is 0: 2 divides it 32 times. */
function factorial(n: number): number {
	if (n > 33) return 0;
	let product = 1;
	for (let i = 2; i <= n; i++) product = Math.imul(product, i);
	return product >>> 0;
}
