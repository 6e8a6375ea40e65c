/**
 * Where BARs decode at present, and telling the machine when that changes.
 *
 * @module
 */
import type { GuestBar, PciSlot } from "../machine/machine.ts";
import { decodedAddress } from "./bar-registers.ts";
import type { ConfigSpace } from "./config-space.ts";

/** The placement of one function's BARs. */
export class BarPlacement {
	readonly #bars: readonly GuestBar[];
	readonly #config: ConfigSpace;
	readonly #placed: (bigint | undefined)[];

	constructor(bars: readonly GuestBar[], config: ConfigSpace) {
		this.#bars = bars;
		this.#config = config;
		this.#placed = bars.map(() => undefined);
	}

	/**
	 * Brings the slot up to date with the registers. What leaves a place leaves it before anything takes it.
	 *
	 * @param powered the function is in D0
	 */
	update(slot: Pick<PciSlot, "placeBar">, powered: boolean): void {
		const targets = this.#bars.map((bar) => decodedAddress(this.#config.registers, bar, powered));
		for (const [n, bar] of this.#bars.entries()) {
			if (this.#placed[n] === undefined || this.#placed[n] === targets[n]) continue;
			this.#placed[n] = undefined;
			slot.placeBar(bar.index, undefined);
		}
		for (const [n, bar] of this.#bars.entries()) {
			const target = targets[n];
			if (target === undefined || this.#placed[n] === target) continue;
			this.#placed[n] = target;
			slot.placeBar(bar.index, target);
		}
	}

	/** Takes all BARs out of the slot. */
	clear(slot: Pick<PciSlot, "placeBar">): void {
		for (const [n, bar] of this.#bars.entries()) {
			if (this.#placed[n] === undefined) continue;
			this.#placed[n] = undefined;
			slot.placeBar(bar.index, undefined);
		}
	}
}
