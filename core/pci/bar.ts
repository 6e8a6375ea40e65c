/**
 * One BAR of an assigned function: its mappings, and which of its bytes MSI-X has.
 *
 * @module
 */
import type { Mapping } from "../kernel.ts";
import type { DirectArea } from "../machine/machine.ts";
import type { BarPlan } from "./bar-areas.ts";
import { alignDown, alignUp } from "./bytes.ts";
import { type Stretch, without } from "./msix-areas.ts";
import { type MsixCapability, msixPbaSize, msixTableSize } from "./msix-capability.ts";

/** A part of a BAR in this process's memory. */
export interface MappedArea extends Stretch {
	readonly mapping: Mapping;
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

	/** @param msix what the guest has of MSI-X */
	constructor(plan: BarPlan, msix: MsixCapability | undefined) {
		this.plan = plan;
		if (!msix) return;
		const { table, pba, vectors } = msix;
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
				direct.push({ start, end, mapping: area.mapping, mappingOffset: start - area.start });
		}
		return direct;
	}
}
