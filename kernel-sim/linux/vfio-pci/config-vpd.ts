/**
 * Writes to the Vital Product Data capability: the kernel does the slow handshake, the user sees it finished.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { load, store } from "../../hardware/little-endian.ts";
import { covers, type RegisterEffect } from "./config-effects.ts";
import type { ConfigSpace } from "./config-space.ts";

/** Registers and the bit that says who has to act (PCI Local Bus 3.0, appendix I). */
const VPD_ADDRESS = 2;
const VPD_DATA = 4;
const VPD_FLAG = 0x8000;

/** The write path of the Vital Product Data capability. */
export class VpdEffect implements RegisterEffect {
	readonly offset: number;
	readonly #config: ConfigSpace;

	constructor(config: ConfigSpace, offset: number) {
		this.#config = config;
		this.offset = offset;
	}

	write(at: number, width: AccessWidth, value: number): number {
		const { shadow, fn } = this.#config;
		const answer = this.#config.store(this.offset + at, width, value);
		if (answer < 0 || !covers(at, width, VPD_ADDRESS + 1)) return answer;
		const register = this.offset + VPD_ADDRESS;
		const address = load(shadow, register, 2);
		const writing = (address & VPD_FLAG) !== 0;
		if (writing) fn.configWrite(this.offset + VPD_DATA, 4, load(shadow, this.offset + VPD_DATA, 4));
		fn.configWrite(register, 2, address);
		// A device that does not flip the bit has not done it, and the user is left waiting as on hardware.
		const done = ((fn.configRead(register, 2) & VPD_FLAG) !== 0) !== writing;
		if (!done) return answer;
		if (!writing) store(shadow, this.offset + VPD_DATA, 4, fn.configRead(this.offset + VPD_DATA, 4));
		store(shadow, register, 2, address ^ VPD_FLAG);
		return answer;
	}
}
