/**
 * The guest's RAM, as the machine seam wants it.
 *
 * @module
 */
import type { Memory } from "../../core/kernel.ts";
import type { GuestMemory, GuestMemoryListener, GuestMemoryRegion } from "../../core/machine/mod.ts";

/** Between 640 KiB and 768 KiB a PC has the frame buffer of its graphics card, not RAM. */
const VGA_START = 0xa0000;
const VGA_END = 0xc0000;

/** RAM from address 0, with the hole that every PC has. It neither grows nor shrinks while the machine exists. */
export class GuestRam implements GuestMemory, Disposable {
	/** The regions, in address order. */
	readonly regions: readonly GuestMemoryRegion[];
	readonly #memory: Memory;
	readonly #listeners = new Set<GuestMemoryListener>();

	/** @param memory all of it, from guest-physical address 0; disposed of with this object */
	constructor(memory: Memory) {
		this.#memory = memory;
		this.regions = [
			this.#region(0, Math.min(VGA_START, memory.length)),
			...(memory.length > VGA_END ? [this.#region(VGA_END, memory.length)] : []),
		];
	}

	subscribe(listener: GuestMemoryListener): Disposable {
		this.#listeners.add(listener);
		for (const region of this.regions) listener.added(region);
		return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
	}

	/** Takes the regions away from whoever still listens, then gives the memory back. */
	[Symbol.dispose](): void {
		for (const listener of this.#listeners) {
			for (const region of [...this.regions].reverse()) listener.removed(region);
		}
		this.#listeners.clear();
		this.#memory[Symbol.dispose]();
	}

	#region(start: number, end: number): GuestMemoryRegion {
		return {
			guestAddress: BigInt(start),
			length: end - start,
			memory: this.#memory,
			offset: start,
			readOnly: false,
			kind: "ram",
		};
	}
}
