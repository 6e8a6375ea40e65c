/**
 * Guest memory with the BARs of assigned functions in it, so that devices reach each other's (peer-to-peer DMA).
 *
 * @module
 */
import type { GuestMemory, GuestMemoryListener, GuestMemoryRegion } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import { ROM_BAR } from "./bar-registers.ts";
import type { FunctionEvent } from "./events.ts";

/** A function whose BARs other devices may reach. `AssignedFunction` is one. */
export interface PeerFunction {
	/** @returns dispose it to stop listening */
	onEvent(listener: (event: FunctionEvent) => void): Disposable;
	/** What other devices may reach of a BAR, where it decodes; nothing while it decodes nowhere. @param bar 0 to 5 */
	peerRegions(bar: number): readonly GuestMemoryRegion[];
}

/**
 * A guest's memory, and the BARs of its assigned functions where the guest has placed them. Whatever takes a BAR from
 * others (the guest switches decoding off, moves the BAR, puts the function to sleep, or it is reset) removes its regions,
 * and they are added anew when it is back: a mapping of iommufd does not survive that, and is made again.
 *
 * It goes by the BARs' own registers: a BAR behind a bridge whose window does not let the guest reach it is in it as well.
 * So is one of less than a page, but no IOMMU can map that.
 *
 * @example
 * ```ts
 * const memory = new PeerMemory(machine.memory);
 * const addressSpace = new IoAddressSpace(kernel, { memory, iommufd });
 * const device = VfioDevice.open(kernel, "05:00.0", { addressSpace });
 * const fn = AssignedFunction.attach(device);
 * memory.add(fn); // the function leaves when it is unplugged
 * ```
 */
export class PeerMemory implements GuestMemory {
	readonly #memory: GuestMemory;
	readonly #listeners = new Set<GuestMemoryListener>();
	/** BARs that decode. */
	readonly #regions = new Set<GuestMemoryRegion>();

	/** @param memory the guest's own */
	constructor(memory: GuestMemory) {
		this.#memory = memory;
	}

	/** Puts a function's BARs into the memory. @returns dispose it to take them out */
	add(fn: PeerFunction): Disposable {
		const bars: GuestMemoryRegion[][] = [];
		const replace = (bar: number, regions = fn.peerRegions(bar)) => {
			for (const region of bars[bar] ?? []) this.#remove(region);
			bars[bar] = [...regions];
			for (const region of regions) this.#add(region);
		};
		const releases = new Releases();
		releases.defer(() => {
			for (const bar of bars.keys()) replace(bar, []);
		});
		try {
			const replaceAll = () => {
				for (let bar = 0; bar < ROM_BAR; bar++) replace(bar);
			};
			replaceAll();
			releases.use(
				fn.onEvent((event) => {
					if (event.type === "bar-placed" && event.bar < ROM_BAR) replace(event.bar);
					if (event.type === "exports-revoked") replaceAll();
				}),
			);
			return releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** See {@link GuestMemory.subscribe}. */
	subscribe(listener: GuestMemoryListener): Disposable {
		const present = [...this.#regions];
		let replaying = true;
		const releases = new Releases();
		try {
			releases.use(
				this.#memory.subscribe({
					added: (region) => (replaying ? void present.push(region) : listener.added(region)),
					removed: (region) => listener.removed(region),
				}),
			);
			replaying = false;
			present.sort((a, b) => (a.guestAddress < b.guestAddress ? -1 : a.guestAddress > b.guestAddress ? 1 : 0));
			for (const region of present) listener.added(region);
			this.#listeners.add(listener);
			releases.defer(() => this.#listeners.delete(listener));
			return releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
	}

	#add(region: GuestMemoryRegion): void {
		this.#regions.add(region);
		for (const listener of this.#listeners) listener.added(region);
	}

	#remove(region: GuestMemoryRegion): void {
		this.#regions.delete(region);
		for (const listener of this.#listeners) listener.removed(region);
	}
}
