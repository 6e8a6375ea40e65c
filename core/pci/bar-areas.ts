/**
 * How each part of a BAR is reached, and why: data that tiles the BAR from its first byte to its last.
 *
 * @module
 */
import type { Region } from "../device/region.ts";
import type { GuestBar } from "../machine/machine.ts";
import { ROM_BAR } from "./bar-registers.ts";
import { alignDown, alignUp } from "./bytes.ts";
import { mappableAreas, type Stretch, without } from "./msix-areas.ts";
import { type MsixCapability, msixTableSize } from "./msix-capability.ts";

/** A part of a BAR. */
export interface BarArea extends Stretch {
	/** `mmap`: the device's memory, mapped. `trap`: each access comes to us. */
	readonly access: "mmap" | "trap";
	/** Why, such as `MSI-X table` or `I/O ports`. */
	readonly reason: string;
}

/** A BAR and its areas. */
export interface BarPlan extends GuestBar {
	/** They tile `[0, size)`. */
	readonly areas: readonly BarArea[];
	/** What to map of the region: the areas to be mapped, or all of it where the kernel lets us map the MSI-X table too. */
	readonly mapped: readonly Stretch[];
}

/**
 * Plans one BAR.
 *
 * @param msix the device's MSI-X capability; its table is always trapped
 * @param emulated the guest has MSI-X: accesses to the table never get past the emulation
 * @param pageSize bytes
 * @param mmap false: trap everything
 */
export function planBar(
	bar: GuestBar,
	region: Pick<Region, "size" | "mappable" | "msixMappable" | "sparseAreas">,
	msix: MsixCapability | undefined,
	emulated: boolean,
	pageSize: number,
	mmap: boolean,
): BarPlan {
	const obstacle = whyTrapped(bar, region, mmap);
	if (obstacle !== undefined)
		return { ...bar, areas: [{ start: 0, end: bar.size, access: "trap", reason: obstacle }], mapped: [] };
	const table = msix?.table.bar === bar.index ? { offset: msix.table.offset, vectors: msix.vectors } : undefined;
	const input = { size: region.size, pageSize, sparse: region.sparseAreas };
	const open = mappableAreas(input);
	const areas = mappableAreas({ ...input, table });
	// With the table's page mapped, registers beside the table need no system call either.
	const mapped = table && emulated && region.msixMappable ? open : areas;
	const tablePages: Stretch[] = table
		? [
				{
					start: alignDown(table.offset, pageSize),
					end: alignUp(table.offset + msixTableSize(table.vectors), pageSize),
				},
			]
		: [];
	return { ...bar, areas: tile(bar.size, areas, tablePages, region), mapped };
}

function whyTrapped(bar: GuestBar, region: Pick<Region, "mappable">, mmap: boolean): string | undefined {
	if (bar.index === ROM_BAR) return "option ROM";
	if (bar.kind === "io") return "I/O ports";
	if (!mmap) return "mapping is switched off";
	return region.mappable ? undefined : "the kernel does not map it";
}

/** Fills what is not mapped with trapped areas, each with its reason. */
function tile(
	size: number,
	mapped: readonly Stretch[],
	table: readonly Stretch[],
	region: Pick<Region, "size" | "sparseAreas">,
): BarArea[] {
	const tiles: BarArea[] = mapped.map((area) => ({ ...area, access: "mmap", reason: "device memory" }));
	let rest: Stretch[] = [{ start: 0, end: size }];
	for (const area of mapped) rest = without(rest, area);
	for (const gap of rest) {
		const claimed = table.map((t) => ({ start: Math.max(gap.start, t.start), end: Math.min(gap.end, t.end) }));
		let other: Stretch[] = [gap];
		for (const t of claimed) {
			if (t.start >= t.end) continue;
			tiles.push({ ...t, access: "trap", reason: "MSI-X table" });
			other = without(other, t);
		}
		const reason = region.sparseAreas ? "the kernel does not map this part" : "past the last whole page of the region";
		for (const stretch of other) tiles.push({ ...stretch, access: "trap", reason });
	}
	return tiles.sort((a, b) => a.start - b.start);
}
