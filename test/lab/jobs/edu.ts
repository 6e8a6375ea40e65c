import type { AssignedFunction } from "../../../core/pci/assigned-function.ts";

/** `vendor:device` of QEMU's educational device. */
export const EDU_ID = 0x11e8_1234;
/** Its own memory, where its DMA goes to and comes from. */
export const EDU_BUFFER = 0x40000;

const INTERRUPT_STATUS = 0x24;
const INTERRUPT_RAISE = 0x60;
const INTERRUPT_ACKNOWLEDGE = 0x64;
const DMA_SOURCE = 0x80;
const DMA_DESTINATION = 0x88;
const DMA_COUNT = 0x90;
const DMA_COMMAND = 0x98;
const DMA_RUN = 1;
const DMA_TO_MEMORY = 2;

/** The registers of edu (QEMU's docs/specs/edu.rst), as its driver in a guest uses them. */
export class EduRegisters {
	readonly #fn: AssignedFunction;

	constructor(fn: AssignedFunction) {
		this.#fn = fn;
	}

	/** A register that answers with the complement of what was written. */
	alive(): boolean {
		this.#fn.barWrite(0, 4, 4, 0x12345678);
		return this.#fn.barRead(0, 4, 4) === ~0x12345678 >>> 0;
	}

	/** Has it interrupt. */
	raise(): void {
		this.#fn.barWrite(0, INTERRUPT_RAISE, 4, 1);
	}

	/** Serves what it interrupted for. */
	acknowledge(): void {
		this.#fn.barWrite(0, INTERRUPT_ACKNOWLEDGE, 4, this.#fn.barRead(0, INTERRUPT_STATUS, 4));
	}

	/** Starts a transfer between guest memory and its own, of up to 4096 bytes. */
	startDma(memory: number, length: number, direction: "from-memory" | "to-memory"): void {
		const toMemory = direction === "to-memory";
		this.#fn.barWrite64(0, DMA_SOURCE, BigInt(toMemory ? EDU_BUFFER : memory));
		this.#fn.barWrite64(0, DMA_DESTINATION, BigInt(toMemory ? memory : EDU_BUFFER));
		this.#fn.barWrite64(0, DMA_COUNT, BigInt(length));
		this.#fn.barWrite64(0, DMA_COMMAND, BigInt(DMA_RUN | (toMemory ? DMA_TO_MEMORY : 0)));
	}

	get dmaRunning(): boolean {
		return (this.#fn.barRead64(0, DMA_COMMAND) & BigInt(DMA_RUN)) !== 0n;
	}
}
