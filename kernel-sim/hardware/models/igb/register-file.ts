/**
 * The registers that only hold a value, and the counters that a read clears.
 *
 * @module
 */
import * as registers from "./registers.ts";

const COUNTERS: readonly number[] = [
	registers.MPC,
	registers.GPRC,
	registers.BPRC,
	registers.MPRC,
	registers.GPTC,
	registers.GORCL,
	registers.GOTCL,
];

/** Values by offset. What is not a register reads as 0 and takes no write. */
export class RegisterFile {
	readonly #values = new Uint32Array(0x6000 / 4);
	readonly #writable = new Uint32Array(0x6000 / 4);

	constructor() {
		for (const [first, end, bits] of registers.PLAIN_REGISTERS) this.#writable.fill(bits, first / 4, end / 4);
		this.reset();
	}

	/** The values after a reset, those of the mailbox memory included (datasheet section 4.3). */
	reset(): void {
		const values = this.#values;
		values.fill(0);
		values[0x38 / 4] = 0x8100;
		values[registers.VFRE / 4] = 0xff;
		values[registers.VFTE / 4] = 0xff;
		values[0x2404 / 4] = 0x40;
		values[0x3404 / 4] = 0x28;
		values[registers.RLPML / 4] = 0x2600;
		for (let pool = 0; pool < registers.POOLS; pool++) values[registers.VMOLR / 4 + pool] = 0x2600;
	}

	/** A driver's read. @param offset a multiple of 4 */
	read(offset: number): number {
		const value = this.get(offset);
		if (COUNTERS.includes(offset)) this.#values[offset / 4] = 0;
		return value;
	}

	/** A driver's write: bits that are not there are dropped. */
	write(offset: number, value: number): void {
		const bits = this.#writable[offset / 4] ?? 0;
		if (bits !== 0) this.#values[offset / 4] = value & bits;
	}

	/** What the device itself sees. */
	get(offset: number): number {
		return this.#values[offset / 4] ?? 0;
	}

	/** What the device itself sets, whether or not a driver can. */
	set(offset: number, value: number): void {
		this.#values[offset / 4] = value;
	}

	/** Some bits of a register are set. */
	has(offset: number, bits: number): boolean {
		return (this.get(offset) & bits) !== 0;
	}

	/** Counts, without wrapping around: counters stick at their maximum (section 8.19). */
	count(offset: number, amount = 1): void {
		this.#values[offset / 4] = Math.min(this.get(offset) + amount, 0xffffffff);
	}
}
