/**
 * From guest memory to DMA mappings: pure, so that a plan can be printed and tested with no kernel.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { GuestMemoryRegion } from "../machine/machine.ts";
import { type Interval, IntervalMap } from "./interval-map.ts";
import type { IovaRange } from "./iommu.ts";

/** What the IOMMU allows. {@link IommuInfo} is one. */
export interface PlannerLimits {
	/** The IOMMU's smallest page, in bytes. */
	readonly pageSize: bigint;
	/** Where mappings may lie; undefined when that is not known. */
	readonly iovaRanges: readonly IovaRange[] | undefined;
	/** How many mappings can be made. */
	readonly dmaAvail: number;
}

/** One mapping to make. */
export interface PlannedMapping {
	readonly iova: bigint;
	/** Address in this process. */
	readonly vaddr: bigint;
	/** Bytes. */
	readonly size: bigint;
	/** The device may write it; reading it may always. */
	readonly write: boolean;
	readonly kind: "ram" | "device";
	/** What it maps: neighbours with one lifetime. */
	readonly regions: readonly GuestMemoryRegion[];
}

/** Why a region is not mapped. */
export type SkipReason =
	/** Not one whole page in it. */
	| "empty"
	/** Bit 63 of its address is set: what a guest shows while it sizes a 64-bit BAR. */
	| "bit-63"
	/** A BAR smaller than a page, or across a page's boundary. */
	| "device-alignment"
	/** Its address and its memory lie differently within a page. */
	| "misaligned"
	/** It overlaps another region: RAM, or one of its own kind that comes before it. */
	| "overlapping"
	/** It claims more than the memory behind it has. */
	| "outside-memory"
	/** The IOMMU has no such address. */
	| "out-of-range"
	/** The kernel allows no more mappings. */
	| "no-entries";

/** Regions that are not mapped. */
export interface SkippedRegions {
	readonly regions: readonly GuestMemoryRegion[];
	readonly reason: SkipReason;
	/** What is wrong; undefined where nothing is. */
	readonly error: VfioError | undefined;
	/** A guest cannot run like this: DMA to its memory would fail. */
	readonly fatal: boolean;
}

/** Which mappings to make, in address order, and what is left out. */
export interface MappingPlan {
	readonly map: readonly PlannedMapping[];
	readonly skipped: readonly SkippedRegions[];
}

/**
 * Plans the DMA mappings of guest memory. Neighbours are merged where they are removed together, their
 * start is rounded up and their end down to the IOMMU's pages, and what the IOMMU cannot do is found before it is asked.
 *
 * @param regions in any order
 * @param limits of the IOMMU; {@link Iommu.info} has them
 * @param taken what is mapped already, and stays
 * @returns what to map, in address order, and what cannot be mapped and why; it never throws
 * @example
 * ```ts
 * const plan = planMappings(regions, device.iommu.info());
 * for (const { iova, size } of plan.map) console.log(iova.toString(16), size);
 * ```
 */
export function planMappings(
	regions: readonly GuestMemoryRegion[],
	limits: PlannerLimits,
	taken: Iterable<Interval> = [],
): MappingPlan {
	const sorted = [...regions].sort((a, b) =>
		a.guestAddress < b.guestAddress ? -1 : a.guestAddress > b.guestAddress ? 1 : 0,
	);
	const skipped: SkippedRegions[] = [];
	const occupied = new IntervalMap<Interval>();
	for (const entry of taken) occupied.add(entry);
	const planned: PlannedMapping[] = [];
	// RAM first: a guest that places a BAR over it must not lose it to devices for that.
	const found = runs(sorted);
	for (const run of [...found.filter(isRam), ...found.filter((run) => !isRam(run))]) {
		const outcome = planRun(run, limits, occupied);
		if ("reason" in outcome) skipped.push(outcome);
		else planned.push(outcome);
	}
	const map = planned.sort((a, b) => (a.iova < b.iova ? -1 : 1));
	return withinEntries(map, skipped, limits.dmaAvail);
}

function isRam(run: readonly GuestMemoryRegion[]): boolean {
	return run[0]?.kind === "ram";
}

/** Neighbours that may share a mapping. */
function runs(sorted: readonly GuestMemoryRegion[]): GuestMemoryRegion[][] {
	const found: GuestMemoryRegion[][] = [];
	for (const region of sorted) {
		const run = found.at(-1);
		const last = run?.at(-1);
		if (run && last && continues(last, region)) run.push(region);
		else found.push([region]);
	}
	return found;
}

function continues(a: GuestMemoryRegion, b: GuestMemoryRegion): boolean {
	return (
		a.lifetime !== undefined &&
		a.lifetime === b.lifetime &&
		a.memory === b.memory &&
		a.guestAddress + BigInt(a.length) === b.guestAddress &&
		a.offset + a.length === b.offset &&
		a.readOnly === b.readOnly &&
		// Each would be a file of its own.
		a.exportDmaBuf === undefined &&
		b.exportDmaBuf === undefined &&
		a.kind === b.kind
	);
}

function planRun(
	regions: readonly GuestMemoryRegion[],
	limits: PlannerLimits,
	occupied: IntervalMap<Interval>,
): PlannedMapping | SkippedRegions {
	const first = regions[0] as GuestMemoryRegion;
	const mask = limits.pageSize - 1n;
	const start = first.guestAddress;
	const length = BigInt(regions.reduce((sum, region) => sum + region.length, 0));
	const backing = first.memory.address + BigInt(first.offset);
	const skip = (reason: SkipReason, error?: VfioError): SkippedRegions => ({
		regions,
		reason,
		error,
		// A misaligned region is reported and skipped, as QEMU does: such a region is a register window, not memory.
		fatal: first.kind === "ram" && error !== undefined && reason !== "misaligned",
	});

	if (start >> 63n !== 0n) return skip("bit-63");
	const outside = regions.find(({ offset, length, memory }) => !(offset >= 0 && offset + length <= memory.length));
	if (outside) return skip("outside-memory", outsideMemory(start, length, outside.memory.length));
	if (first.kind === "device" && ((start | length) & mask) !== 0n) return skip("device-alignment");
	if (((start ^ backing) & mask) !== 0n) return skip("misaligned", misaligned(start, length, backing, limits.pageSize));
	const iova = (start + mask) & ~mask;
	const size = ((start + length) & ~mask) - iova;
	if (size <= 0n) return skip("empty");
	if (occupied.overlapping(iova, size).length > 0) return skip("overlapping", overlapping(iova, size));
	if (!inOneRange(iova, size, limits.iovaRanges))
		return skip("out-of-range", outOfRange(iova, size, limits.iovaRanges ?? []));
	occupied.add({ start: iova, size });
	return { iova, vaddr: backing + (iova - start), size, write: !first.readOnly, kind: first.kind, regions };
}

/** Whether a mapping lies in one range: the kernel takes none that lies in two. */
export function inOneRange(iova: bigint, size: bigint, ranges: readonly IovaRange[] | undefined): boolean {
	return !ranges || ranges.some((range) => range.start <= iova && iova + size - 1n <= range.end);
}

/** RAM has precedence over BARs, for which DMA is a nicety. */
function withinEntries(map: PlannedMapping[], skipped: SkippedRegions[], available: number): MappingPlan {
	if (map.length <= available) return { map, skipped };
	const ram = map.filter(({ kind }) => kind === "ram");
	const error = entriesExhausted(map.length, available);
	if (ram.length > available)
		return {
			map: [],
			skipped: [...skipped, ...map.map(({ regions, kind }) => noEntries(regions, error, kind === "ram"))],
		};
	const devices = map.filter(({ kind }) => kind === "device");
	const left = devices.splice(available - ram.length);
	const kept = new Set([...ram, ...devices]);
	return {
		map: map.filter((mapping) => kept.has(mapping)),
		skipped: [...skipped, ...left.map(({ regions }) => noEntries(regions, error, false))],
	};
}

function noEntries(regions: readonly GuestMemoryRegion[], error: VfioError, fatal: boolean): SkippedRegions {
	return { regions, reason: "no-entries", error, fatal };
}

const hex = (value: bigint) => `0x${value.toString(16)}`;

/** @param size bytes */
export function describeStretch(iova: bigint, size: bigint): string {
	return `${hex(iova)}-${hex(iova + size - 1n)}`;
}

function outsideMemory(start: bigint, length: bigint, available: number): VfioError {
	return new VfioError(
		"invalid-argument",
		`Cannot map guest memory ${describeStretch(start, length)}: the memory behind it has ${available} bytes only`,
	);
}

function misaligned(start: bigint, length: bigint, backing: bigint, pageSize: bigint): VfioError {
	return new VfioError(
		"misaligned-memory",
		`Cannot map guest memory ${describeStretch(start, length)}: it lies at ${hex(start & (pageSize - 1n))} within a page of ${pageSize} bytes, and its memory at ${hex(backing & (pageSize - 1n))}`,
		{ remedy: ["Place both at the same offset within a page, such as with memory from kernel.allocate."] },
	);
}

function overlapping(iova: bigint, size: bigint): VfioError {
	return new VfioError(
		"overlapping-memory",
		`Cannot map guest memory ${describeStretch(iova, size)}: it overlaps another region`,
	);
}

/** The error for an IOVA that the IOMMU does not have. */
export function outOfRange(iova: bigint, size: bigint, ranges: readonly IovaRange[], cause?: unknown): VfioError {
	const list = ranges.map((range) => `${hex(range.start)}-${hex(range.end)}`).join(", ");
	return new VfioError(
		"iova-out-of-range",
		`Cannot map ${describeStretch(iova, size)} for DMA: the IOMMU maps ${list || "nothing"}, and a mapping lies in one of these`,
		{
			...(cause === undefined ? {} : { cause }),
			remedy: [
				"Place guest memory within these ranges: interrupts and reserved regions of the host lie between them.",
				"Above the last range, the IOMMU has no address bits: give the guest less memory, or a lower 64-bit PCI window.",
			],
		},
	);
}

/** The error for more mappings than the kernel keeps. */
export function entriesExhausted(needed: number, available: number, cause?: unknown): VfioError {
	return new VfioError(
		"dma-entries-exhausted",
		`Cannot map memory for DMA: ${needed} mappings are needed, and the kernel allows ${available} more`,
		{
			...(cause === undefined ? {} : { cause }),
			remedy: [
				"Use fewer and larger regions.",
				`Before the container is opened: echo ${Math.max(65535, 2 * needed)} | sudo tee /sys/module/vfio_iommu_type1/parameters/dma_entry_limit`,
			],
		},
	);
}
