/**
 * How each part of a BAR is reached, and why: data that tiles the BAR from its first byte to its last.
 *
 * @module
 */
import { alignDown, alignUp } from "../bytes.ts";
import type { Region } from "../device/region.ts";
import type { GuestBar } from "../machine/machine.ts";
import { ROM_BAR } from "./bar-registers.ts";
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
	/** Bytes of the device behind it: fewer than `size` where the BAR is larger for the guest. */
	readonly regionSize: number;
}

/** A part of a BAR that must be trapped whatever can be mapped. */
export interface Trap extends Stretch {
	readonly reason: string;
}

/**
 * Plans one BAR.
 *
 * @param msix the device's MSI-X capability; its table is always trapped
 * @param emulated the guest has MSI-X: accesses to the table never get past the emulation
 * @param pageSize bytes
 * @param mmap false: trap everything
 * @param traps what must be trapped beside the device's MSI-X table; whole pages of it will be
 */
export function planBar(
	bar: GuestBar,
	region: Pick<Region, "size" | "mappable" | "msixMappable" | "sparseAreas">,
	msix: MsixCapability | undefined,
	emulated: boolean,
	pageSize: number,
	mmap: boolean,
	traps: readonly Trap[] = [],
): BarPlan {
	const regionSize = Math.min(region.size, bar.size);
	const obstacle = whyTrapped(bar, region, mmap);
	if (obstacle !== undefined)
		return { ...bar, areas: [{ start: 0, end: bar.size, access: "trap", reason: obstacle }], mapped: [], regionSize };
	const table = msix?.table.bar === bar.index ? { offset: msix.table.offset, vectors: msix.vectors } : undefined;
	const input = { size: region.size, pageSize, sparse: region.sparseAreas };
	const open = mappableAreas(input);
	const tableFree = mappableAreas({ ...input, table });
	// With the table's page mapped, registers beside the table need no system call either.
	const mapped = table && emulated && region.msixMappable ? open : tableFree;
	const whole = traps.map((trap) => pagesOf(trap, trap.reason, pageSize));
	let areas = tableFree;
	for (const trap of whole) areas = without(areas, trap);
	if (table) {
		const { offset, vectors } = table;
		whole.unshift(pagesOf({ start: offset, end: offset + msixTableSize(vectors) }, TABLE_REASON, pageSize));
	}
	return { ...bar, areas: tile(bar.size, areas, whole, region), mapped, regionSize };
}

/** Why a part with an MSI-X table in it is trapped. */
export const TABLE_REASON = "MSI-X table";

function pagesOf(stretch: Stretch, reason: string, pageSize: number): Trap {
	return { start: alignDown(stretch.start, pageSize), end: alignUp(stretch.end, pageSize), reason };
}

function whyTrapped(bar: GuestBar, region: Pick<Region, "size" | "mappable">, mmap: boolean): string | undefined {
	if (bar.index === ROM_BAR) return "option ROM";
	if (bar.kind === "io") return "I/O ports";
	if (region.size === 0) return TABLE_REASON;
	if (!mmap) return "mapping is switched off";
	return region.mappable ? undefined : "the kernel does not map it";
}

/** Fills what is not mapped with trapped areas, each with its reason. */
function tile(
	size: number,
	mapped: readonly Stretch[],
	traps: readonly Trap[],
	region: Pick<Region, "size" | "sparseAreas">,
): BarArea[] {
	const tiles: BarArea[] = mapped.map((area) => ({ ...area, access: "mmap", reason: "device memory" }));
	let rest: Stretch[] = [{ start: 0, end: size }];
	for (const area of mapped) rest = without(rest, area);
	for (const gap of rest) {
		let other: Stretch[] = [gap];
		for (const trap of traps) {
			// Only what no earlier one has: several may share a page.
			for (const part of other.flatMap((stretch) => overlap(stretch, trap)))
				tiles.push({ ...part, access: "trap", reason: trap.reason });
			other = without(other, trap);
		}
		const reason = region.sparseAreas ? "the kernel does not map this part" : "past the last whole page of the region";
		for (const stretch of other) tiles.push({ ...stretch, access: "trap", reason });
	}
	return tiles.sort((a, b) => a.start - b.start);
}

function overlap(a: Stretch, b: Stretch): Stretch[] {
	const start = Math.max(a.start, b.start);
	const end = Math.min(a.end, b.end);
	return start < end ? [{ start, end }] : [];
}
