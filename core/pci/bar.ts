/**
 * One BAR of an assigned function: its mappings, and which of its bytes MSI-X has.
 *
 * @module
 */
import { alignDown, alignUp } from "../bytes.ts";
import type { Mapping } from "../kernel.ts";
import type { DirectArea } from "../machine/machine.ts";
import type { BarPlan } from "./bar-areas.ts";
import { type Stretch, without } from "./msix-areas.ts";
import { type MsixCapability, msixPbaSize, msixTableSize } from "./msix-capability.ts";
import type { BarQuirk } from "./quirks/quirk.ts";

/** A part of a BAR in this process's memory. */
export interface MappedArea extends Stretch {
	readonly mapping: Mapping;
}

/** A stretch that a quirk watches over. */
export interface WatchedArea extends Stretch {
	readonly quirk: BarQuirk;
}

/** Where MSI-X is: for the guest, and in the device. */
export interface MsixPlaces {
	readonly guest: MsixCapability | undefined;
	readonly device: MsixCapability | undefined;
}

/** The state of one BAR. */
export class Bar {
	readonly plan: BarPlan;
	/** In order, apart from each other. */
	mapped: readonly MappedArea[] = [];
	/** Where the MSI-X table is in this BAR; -1 where it is not. */
	readonly tableStart: number = -1;
	readonly tableEnd: number = -1;
	/** Where the pending bits are in this BAR; -1 where they are not. */
	readonly pbaStart: number = -1;
	readonly pbaEnd: number = -1;
	/** Where the device's own table is, when the guest's is elsewhere: nothing of it may be reached. -1 otherwise. */
	readonly hiddenStart: number = -1;
	readonly hiddenEnd: number = -1;
	/** What quirks watch over, in order. */
	watched: readonly WatchedArea[] = [];
	/** It is smaller than a page, and the guest has placed it where the whole page can be mapped. */
	wholePage = false;

	constructor(plan: BarPlan, msix: MsixPlaces) {
		this.plan = plan;
		const { guest, device } = msix;
		if (!guest) return;
		const { table, pba, vectors } = guest;
		if (device && device.table.bar === plan.index && device.table.offset !== this.#tableIn(guest)) {
			this.hiddenStart = device.table.offset;
			this.hiddenEnd = device.table.offset + msixTableSize(device.vectors);
		}
		if (table.bar === plan.index) {
			this.tableStart = table.offset;
			this.tableEnd = table.offset + msixTableSize(vectors);
		}
		if (pba.bar === plan.index) {
			this.pbaStart = pba.offset;
			this.pbaEnd = pba.offset + msixPbaSize(vectors);
		}
	}

	/** Whether the bytes are in the BAR, and as many as an access can move. */
	accepts(offset: number, width: number): boolean {
		return (
			(width === 1 || width === 2 || width === 4 || width === 8) &&
			offset >= 0 &&
			offset + width <= this.plan.size &&
			Number.isInteger(offset)
		);
	}

	/** Whether one of the bytes is the MSI-X table's. */
	inTable(offset: number, width: number): boolean {
		return offset < this.tableEnd && offset + width > this.tableStart;
	}

	/** Whether one of the bytes is the pending bits'. */
	inPba(offset: number, width: number): boolean {
		return offset < this.pbaEnd && offset + width > this.pbaStart;
	}

	/** Whether one of the bytes is of the device's own table, which the guest does not have. */
	inHidden(offset: number, width: number): boolean {
		return offset < this.hiddenEnd && offset + width > this.hiddenStart;
	}

	/** Whether the device has these bytes: a BAR that is larger for the guest ends earlier there. */
	inRegion(offset: number, width: number): boolean {
		return offset + width <= this.plan.regionSize;
	}

	/** Whether the device's own register may be reached: MSI-X, where a device has it in the same bytes, may not. */
	reaches(offset: number, width: number): boolean {
		return !this.inTable(offset, width) && !this.inHidden(offset, width) && this.inRegion(offset, width);
	}

	/** The quirk that has one of the bytes. */
	watchedAt(offset: number, width: number): WatchedArea | undefined {
		for (const area of this.watched) if (offset < area.end && offset + width > area.start) return area;
		return undefined;
	}

	/**
	 * Follows where the guest has placed the BAR. One that is smaller than a page and has nothing trapped in it may be mapped
	 * as a whole page where it begins one: Linux lets such a BAR be mapped only when nothing else is in its page.
	 *
	 * @returns whether what may be mapped has changed
	 */
	placedAt(address: bigint | undefined, pageSize: number): boolean {
		const { mapped, areas, size, regionSize } = this.plan;
		const alone = size < pageSize && regionSize === size && mapped.length === 1 && areas.length === 1;
		const aligned = address !== undefined && address % BigInt(pageSize) === 0n;
		const wholePage = alone && areas[0]?.access === "mmap" && aligned;
		if (wholePage === this.wholePage) return false;
		this.wholePage = wholePage;
		return true;
	}

	/** The mapping that has these bytes, if they are aligned as its access must be. */
	find(offset: number, width: number): MappedArea | undefined {
		if (offset % width !== 0) return undefined;
		for (const area of this.mapped) if (offset >= area.start && offset + width <= area.end) return area;
		return undefined;
	}

	/**
	 * What a VMM may map into its guest.
	 *
	 * @param hidePba without the pages that hold the pending bits
	 * @param pageSize bytes
	 */
	direct(hidePba: boolean, pageSize: number): DirectArea[] {
		const direct: DirectArea[] = [];
		const pba = { start: alignDown(this.pbaStart, pageSize), end: alignUp(this.pbaEnd, pageSize) };
		for (const planned of this.plan.areas) {
			if (planned.access !== "mmap") continue;
			const area = this.mapped.find((candidate) => candidate.start <= planned.start && planned.end <= candidate.end);
			if (!area) continue;
			for (const { start, end } of hidePba && this.pbaStart >= 0 ? without([planned], pba) : [planned])
				direct.push({
					start,
					end: this.wholePage ? pageSize : end,
					mapping: area.mapping,
					mappingOffset: start - area.start,
				});
		}
		return direct;
	}

	#tableIn({ table }: MsixCapability): number {
		return table.bar === this.plan.index ? table.offset : -1;
	}
}
