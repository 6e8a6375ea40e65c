/**
 * Where BARs decode at present, and telling the machine when that changes.
 *
 * @module
 */
import type { GuestBar } from "../machine/machine.ts";
import { decodedAddress, setBarAddress } from "./bar-registers.ts";
import type { ConfigSpace } from "./config-space.ts";

/** Who puts BARs into the machine. */
export interface BarPlacer {
	/** @param address undefined: nowhere any more @returns false when the machine cannot have it there */
	placeBar(bar: number, address: bigint | undefined): boolean;
}

/** The placement of one function's BARs. */
export class BarPlacement {
	readonly #bars: readonly GuestBar[];
	readonly #config: ConfigSpace;
	readonly #placed: (bigint | undefined)[];
	/** Where each was last. */
	readonly #last: (bigint | undefined)[];

	constructor(bars: readonly GuestBar[], config: ConfigSpace) {
		this.#bars = bars;
		this.#config = config;
		this.#placed = bars.map(() => undefined);
		this.#last = bars.map(() => undefined);
	}

	/**
	 * Brings the slot up to date with the registers. What leaves a place leaves it before anything takes it. A BAR that the
	 * machine cannot have at its new place goes back to the last one, and so does its register: otherwise the guest would
	 * look for it where nothing is.
	 *
	 * @param powered the function is in D0
	 */
	update(placer: BarPlacer, powered: boolean): void {
		const targets = this.#bars.map((bar) => decodedAddress(this.#config.registers, bar, powered));
		for (const [n, bar] of this.#bars.entries()) {
			if (this.#placed[n] === undefined || this.#placed[n] === targets[n]) continue;
			this.#placed[n] = undefined;
			placer.placeBar(bar.index, undefined);
		}
		for (const [n, bar] of this.#bars.entries()) {
			const target = targets[n];
			if (target === undefined || this.#placed[n] === target) continue;
			if (this.#place(placer, n, bar, target)) continue;
			const last = this.#last[n];
			if (last === undefined || last === target) continue;
			setBarAddress(this.#config.registers, bar, last);
			this.#place(placer, n, bar, last);
		}
	}

	/** Takes all BARs out of the slot, and forgets where they were. */
	clear(placer: BarPlacer): void {
		for (const [n, bar] of this.#bars.entries()) {
			this.#last[n] = undefined;
			if (this.#placed[n] === undefined) continue;
			this.#placed[n] = undefined;
			placer.placeBar(bar.index, undefined);
		}
	}

	#place(placer: BarPlacer, n: number, bar: GuestBar, address: bigint): boolean {
		if (!placer.placeBar(bar.index, address)) return false;
		this.#placed[n] = address;
		this.#last[n] = address;
		return true;
	}
}
