/**
 * A platform bus for machines that have none: it places regions in a window of guest-physical memory, gives interrupts
 * their numbers, and decodes.
 *
 * @module
 */
import { ALL_ONES_64, allOnes } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import { Releases } from "../release.ts";
import type { GuestPlatformDevice } from "./platform.ts";

const PAGE_SIZE = 4096;

/** What a machine has for its platform bus. */
export interface PlatformBusOptions {
	/** Guest-physical address of the window, page aligned. */
	readonly base: bigint;
	/** Bytes of the window; it ends below 2^52. */
	readonly size: bigint;
	/** The interrupt numbers it may give: on a GIC, of shared peripheral interrupts, counted from 0. */
	readonly interrupts: { readonly first: number; readonly count: number };
	/** The level of a line. @param interrupt its number */
	readonly setLine: (interrupt: number, asserted: boolean) => void;
	/**
	 * As {@link PlatformLine.connectEventfd}, for a machine that runs on KVM: `KvmVm.platformBus` makes one.
	 *
	 * @param interrupt its number
	 */
	readonly connectEventfd?:
		| ((interrupt: number, trigger: number, resample: number | undefined) => Disposable | undefined)
		| undefined;
	/** What may be mapped at this address into the guest has changed. */
	readonly directAreasChanged?: (device: GuestPlatformDevice, region: number, address: bigint) => void;
}

/** Where a device is: for its guest, and for the node of its device tree. */
export interface PlatformPlacement {
	/** Guest-physical address of each region, in the order of the device's. */
	readonly regions: readonly bigint[];
	/** Interrupt number of each interrupt, in the order of the device's. */
	readonly interrupts: readonly number[];
}

interface PlacedRegion {
	readonly device: GuestPlatformDevice;
	readonly index: number;
	readonly start: number;
	/** One past the last byte. */
	readonly end: number;
	/** One past the last byte of its last page. */
	readonly pageEnd: number;
}

/**
 * Places devices where there is room.
 *
 * @example
 * ```ts
 * const lines = new Map<number, boolean>();
 * const bus = new PlatformBus({
 *   base: 0xc000000n,
 *   size: 0x2000000n,
 *   interrupts: { first: 112, count: 64 },
 *   setLine: (interrupt, asserted) => lines.set(interrupt, asserted),
 * });
 * const { regions, interrupts } = bus.plug(nic);
 * bus.read(Number(regions[0]), 4); // the device's first register
 * ```
 */
export class PlatformBus {
	readonly #options: PlatformBusOptions;
	readonly #devices = new Map<GuestPlatformDevice, PlatformPlacement>();
	/** In address order. */
	#regions: PlacedRegion[] = [];
	readonly #taken = new Set<number>();

	constructor(options: PlatformBusOptions) {
		this.#options = options;
	}

	/** The devices on it, and where they are. */
	get devices(): ReadonlyMap<GuestPlatformDevice, PlatformPlacement> {
		return this.#devices;
	}

	/**
	 * Takes a device: places its regions, connects its interrupts.
	 *
	 * @throws VfioError `invalid-argument` when there is no room, or it is on the bus already; `interrupt-failed`. The bus is
	 *   then as before
	 */
	plug(device: GuestPlatformDevice): PlatformPlacement {
		if (this.#devices.has(device)) throw this.#refuse(device, "it is on the bus already");
		const before = this.#regions;
		const undo = new Releases();
		undo.defer(() => {
			this.#regions = before;
		});
		try {
			const placed = device.regions.map(({ index, size }) => this.#place(device, index, size));
			const interrupts = this.#freeInterrupts(device);
			device.plug({
				directAreasChanged: (region) => {
					const at = placed.find(({ index }) => index === region);
					if (at) this.#options.directAreasChanged?.(device, region, BigInt(at.start));
				},
			});
			undo.defer(() => device.unplug());
			device.interrupts.forEach(({ index }, order) => {
				this.#connect(device, index, interrupts[order] as number);
			});
			undo.move();
			for (const interrupt of interrupts) this.#taken.add(interrupt);
			const placement = { regions: placed.map(({ start }) => BigInt(start)), interrupts };
			this.#devices.set(device, placement);
			return placement;
		} finally {
			undo[Symbol.dispose]();
		}
	}

	/** Takes a device out. @throws VfioError `invalid-argument` when it is not on the bus */
	unplug(device: GuestPlatformDevice): void {
		const placement = this.#devices.get(device);
		if (!placement) throw this.#refuse(device, "it is not on the bus");
		this.#devices.delete(device);
		this.#regions = this.#regions.filter((region) => region.device !== device);
		for (const interrupt of placement.interrupts) this.#taken.delete(interrupt);
		device.unplug();
	}

	/** A read by the guest: all ones where nothing is. @param address guest-physical */
	read(address: number, width: AccessWidth): number {
		const region = this.#find(address, width);
		return region ? region.device.read(region.index, address - region.start, width) : allOnes(width);
	}

	/** A 64-bit read by the guest. */
	read64(address: number): bigint {
		const region = this.#find(address, 8);
		return region ? region.device.read64(region.index, address - region.start) : ALL_ONES_64;
	}

	/** A write by the guest: dropped where nothing is. */
	write(address: number, width: AccessWidth, value: number): void {
		const region = this.#find(address, width);
		if (region) region.device.write(region.index, address - region.start, width, value);
	}

	/** A 64-bit write by the guest. */
	write64(address: number, value: bigint): void {
		const region = this.#find(address, 8);
		if (region) region.device.write64(region.index, address - region.start, value);
	}

	/** The region that has all of these bytes. */
	#find(address: number, width: number): PlacedRegion | undefined {
		const regions = this.#regions;
		let low = 0;
		let high = regions.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if ((regions[middle] as PlacedRegion).start <= address) low = middle + 1;
			else high = middle;
		}
		const region = regions[low - 1];
		return region && address + width <= region.end ? region : undefined;
	}

	/** Each region has its pages to itself, so that it can be mapped. */
	#place(device: GuestPlatformDevice, index: number, size: number): PlacedRegion {
		const pages = Math.max(1, Math.ceil(size / PAGE_SIZE)) * PAGE_SIZE;
		const windowEnd = Number(this.#options.base + this.#options.size);
		let start = Number(this.#options.base);
		for (const region of this.#regions) {
			if (start + pages <= region.start) break;
			start = region.pageEnd;
		}
		if (start + pages > windowEnd)
			throw this.#refuse(device, `region ${index} of ${size} bytes does not fit into what is left of its window`);
		const placed = { device, index, start, end: start + size, pageEnd: start + pages };
		this.#regions = [...this.#regions, placed].sort((a, b) => a.start - b.start);
		return placed;
	}

	#freeInterrupts(device: GuestPlatformDevice): number[] {
		const { first, count } = this.#options.interrupts;
		const free = Array.from({ length: count }, (_, index) => first + index).filter((one) => !this.#taken.has(one));
		const wanted = device.interrupts.length;
		if (free.length < wanted) throw this.#refuse(device, `it has ${wanted} interrupts, and ${free.length} are left`);
		return free.slice(0, wanted);
	}

	#connect(device: GuestPlatformDevice, index: number, interrupt: number): void {
		const { setLine, connectEventfd } = this.#options;
		device.connectLine(index, {
			set: (asserted) => setLine(interrupt, asserted),
			...(connectEventfd && { connectEventfd: (trigger, resample) => connectEventfd(interrupt, trigger, resample) }),
		});
	}

	#refuse({ name }: GuestPlatformDevice, reason: string): VfioError {
		return new VfioError("invalid-argument", `Cannot change ${name} on the platform bus: ${reason}`, { device: name });
	}
}
