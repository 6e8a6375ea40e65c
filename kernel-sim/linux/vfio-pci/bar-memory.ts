/**
 * A BAR as a process maps it: every access goes to the hardware, unless the device may not be touched just now.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { MappedRegion } from "../region-mapping.ts";

/** Says whether mapped memory answers: Linux takes the pages away while it does not, and a touch is a SIGBUS. */
export interface MemoryGate {
	readonly fn: PciFunction;
	/** The function is there, awake, and decodes its memory. */
	readonly mappable: boolean;
}

/** Part of a memory BAR in a process's memory. */
export class BarMemory implements MappedRegion {
	readonly #gate: MemoryGate;
	readonly #fn: PciFunction;
	readonly #bar: number;
	readonly #start: number;
	readonly #size: number;

	/** @param start where in the BAR the mapping begins, bytes */
	constructor(gate: MemoryGate, bar: number, start: number) {
		this.#gate = gate;
		this.#fn = gate.fn;
		this.#bar = bar;
		this.#start = start;
		this.#size = gate.fn.bar(bar)?.size ?? 0;
	}

	read(offset: number, width: AccessWidth): number {
		if (!this.#gate.mappable) return -EIO;
		const at = this.#start + offset;
		// A BAR smaller than a page is mapped with the rest of its page, where nothing decodes.
		if (at + width > this.#size) return width === 4 ? 0xffffffff : width === 2 ? 0xffff : 0xff;
		return this.#fn.read(this.#bar, at, width);
	}

	read64(offset: number): bigint {
		if (!this.#gate.mappable) return BigInt(-EIO);
		const at = this.#start + offset;
		return at + 8 > this.#size ? 0xffff_ffff_ffff_ffffn : this.#fn.read64(this.#bar, at);
	}

	write(offset: number, width: AccessWidth, value: number): number {
		if (!this.#gate.mappable) return -EIO;
		this.#fn.write(this.#bar, this.#start + offset, width, value);
		return 0;
	}

	write64(offset: number, value: bigint): number {
		if (!this.#gate.mappable) return -EIO;
		this.#fn.write64(this.#bar, this.#start + offset, value);
		return 0;
	}
}
