/**
 * The regions of an assigned platform device: mapped, where and while that may be; else a system call for each access.
 *
 * @module
 */
import { ALL_ONES_64, allOnes } from "../bytes.ts";
import type { AccessWidth, Mapping } from "../kernel.ts";
import type { DirectArea } from "../machine/machine.ts";
import type { GuestPlatformRegion } from "../machine/platform.ts";
import { Releases } from "../release.ts";
import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from "../uapi/vfio.ts";
import type { AssignablePlatformDevice } from "./hardware.ts";

const NOTHING: readonly DirectArea[] = [];

/** What regions tell the device they belong to. */
export interface PlatformRegionHost {
	/** The guest has accessed a region that is not mapped. */
	accessed(): void;
	directAreasChanged(region: number): void;
	report(message: string): void;
}

interface RegionState extends GuestPlatformRegion {
	readonly readable: boolean;
	mapping: Mapping | undefined;
	direct: readonly DirectArea[];
}

/** Accesses regions. Disposing it unmaps them. */
export class PlatformRegions implements Disposable {
	readonly #device: AssignablePlatformDevice;
	readonly #host: PlatformRegionHost;
	readonly #regions: RegionState[];
	#mapped = true;

	/** @throws VfioError `kernel` */
	constructor(device: AssignablePlatformDevice, host: PlatformRegionHost) {
		this.#device = device;
		this.#host = host;
		this.#regions = Array.from({ length: device.regionCount }, (_, index) => {
			const { size, flags } = device.region(index);
			const readable = (flags & VFIO_REGION_INFO_FLAG_READ) !== 0;
			const readOnly = (flags & VFIO_REGION_INFO_FLAG_WRITE) === 0;
			if (!readable && readOnly && size > 0)
				host.report(`Region ${index} of ${device.name} cannot be accessed: it is no memory, but I/O ports`);
			return { index, size, readable, readOnly, mapping: undefined, direct: NOTHING };
		});
	}

	/** Maps what can be mapped. What cannot, is slower and works all the same. */
	map(): void {
		for (const region of this.#regions) {
			if (!this.#device.region(region.index).mappable) continue;
			try {
				const mapping = this.#device.mapRegion(region.index);
				region.mapping = mapping;
				region.direct = [{ start: 0, end: region.size, mapping, mappingOffset: 0 }];
			} catch (error) {
				this.#host.report(`${(error as Error).message}; each access to it is a system call`);
			}
		}
	}

	get regions(): readonly GuestPlatformRegion[] {
		return this.#regions;
	}

	/** Whether mapped memory is in use. */
	get mapped(): boolean {
		return this.#mapped;
	}

	/** Switches the use of mapped memory. Asking for the present state is free. */
	setMapped(on: boolean): void {
		if (on === this.#mapped) return;
		this.#mapped = on;
		for (const region of this.#regions) if (region.mapping) this.#host.directAreasChanged(region.index);
	}

	directAreas(index: number): readonly DirectArea[] {
		return this.#mapped ? (this.#regions[index]?.direct ?? NOTHING) : NOTHING;
	}

	/** @returns all ones where there is nothing */
	read(index: number, offset: number, width: AccessWidth): number {
		const region = this.#regions[index];
		if (!region || !accepts(region, offset, width)) return allOnes(width);
		const mapping = this.#mappingOf(region, offset, width);
		try {
			if (mapping) return mapping.read(offset, width);
		} catch (error) {
			this.#host.report((error as Error).message);
			return allOnes(width);
		}
		const value = region.readable ? this.#device.readRegion(index, offset, width) : allOnes(width);
		this.#host.accessed();
		return value;
	}

	/** @returns all ones where there is nothing */
	read64(index: number, offset: number): bigint {
		const region = this.#regions[index];
		if (!region || !accepts(region, offset, 8)) return ALL_ONES_64;
		const mapping = this.#mappingOf(region, offset, 8);
		try {
			if (mapping) return mapping.read64(offset);
		} catch (error) {
			this.#host.report((error as Error).message);
			return ALL_ONES_64;
		}
		const value = region.readable ? this.#device.readRegion64(index, offset) : ALL_ONES_64;
		this.#host.accessed();
		return value;
	}

	write(index: number, offset: number, width: AccessWidth, value: number): void {
		const region = this.#regions[index];
		if (!region || !accepts(region, offset, width)) return;
		const mapping = region.readOnly ? undefined : this.#mappingOf(region, offset, width);
		if (mapping) {
			try {
				mapping.write(offset, width, value);
			} catch (error) {
				this.#host.report((error as Error).message);
			}
			return;
		}
		if (!region.readOnly) this.#device.writeRegion(index, offset, width, value);
		this.#host.accessed();
	}

	write64(index: number, offset: number, value: bigint): void {
		const region = this.#regions[index];
		if (!region || !accepts(region, offset, 8)) return;
		const mapping = region.readOnly ? undefined : this.#mappingOf(region, offset, 8);
		if (mapping) {
			try {
				mapping.write64(offset, value);
			} catch (error) {
				this.#host.report((error as Error).message);
			}
			return;
		}
		if (!region.readOnly) this.#device.writeRegion64(index, offset, value);
		this.#host.accessed();
	}

	[Symbol.dispose](): void {
		const releases = new Releases();
		for (const region of this.#regions) {
			if (region.mapping) releases.use(region.mapping);
			region.mapping = undefined;
			region.direct = NOTHING;
		}
		releases[Symbol.dispose]();
	}

	/** A mapping takes aligned accesses only. */
	#mappingOf(region: RegionState, offset: number, width: number): Mapping | undefined {
		return this.#mapped && offset % width === 0 ? region.mapping : undefined;
	}
}

function accepts(region: GuestPlatformRegion, offset: number, width: number): boolean {
	return Number.isInteger(offset) && offset >= 0 && offset + width <= region.size;
}
