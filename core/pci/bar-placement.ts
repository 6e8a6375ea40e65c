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
	#updating = false;
	/** The registers have changed during an update: the machine was told of a place, and wrote to them. */
	#outdated = false;

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
	 * @param powered whether the function is in D0
	 */
	update(placer: BarPlacer, powered: () => boolean): void {
		this.#outdated = true;
		if (this.#updating) return;
		this.#updating = true;
		try {
			while (this.#outdated) {
				this.#outdated = false;
				this.#settle(placer, powered());
			}
		} finally {
			this.#updating = false;
		}
	}

	/** Once, as far as the registers stay as they are. */
	#settle(placer: BarPlacer, powered: boolean): void {
		const targets = this.#bars.map((bar) => decodedAddress(this.#config.registers, bar, powered));
		for (const [n, bar] of this.#bars.entries()) {
			if (this.#placed[n] === undefined || this.#placed[n] === targets[n]) continue;
			this.#placed[n] = undefined;
			placer.placeBar(bar.index, undefined);
			if (this.#outdated) return;
		}
		for (const [n, bar] of this.#bars.entries()) {
			const target = targets[n];
			if (target === undefined || this.#placed[n] === target) continue;
			const done = this.#place(placer, n, bar, target);
			if (this.#outdated) return;
			const last = this.#last[n];
			if (done || last === undefined || last === target) continue;
			setBarAddress(this.#config.registers, bar, last);
			this.#place(placer, n, bar, last);
			if (this.#outdated) return;
		}
	}

	/** Takes all BARs out of the slot, and forgets where they were. */
	clear(placer: BarPlacer): void {
		this.#outdated = true;
		for (const [n, bar] of this.#bars.entries()) {
			this.#last[n] = undefined;
			if (this.#placed[n] === undefined) continue;
			this.#placed[n] = undefined;
			placer.placeBar(bar.index, undefined);
		}
	}

	#place(placer: BarPlacer, n: number, bar: GuestBar, address: bigint): boolean {
		// First, since the machine may look, or change it again, before it returns.
		this.#placed[n] = address;
		if (placer.placeBar(bar.index, address)) {
			if (this.#placed[n] === address) this.#last[n] = address;
			return true;
		}
		if (this.#placed[n] === address) this.#placed[n] = undefined;
		return false;
	}
}
