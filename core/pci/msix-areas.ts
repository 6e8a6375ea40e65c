/**
 * Which parts of a BAR may be mapped into a guest: all that can be mapped, less the pages of the MSI-X table, which a
 * guest must not write behind the emulation's back.
 *
 * @module
 */
import { alignDown, alignUp } from "../bytes.ts";
import { PCI_MSIX_ENTRY_SIZE } from "../uapi/pci_regs.ts";

/** A stretch of a BAR. */
export interface Stretch {
	/** First byte. */
	readonly start: number;
	/** One past the last byte. */
	readonly end: number;
}

/** What {@link mappableAreas} decides from. */
export interface MappableInput {
	/** Bytes of the BAR's region. */
	readonly size: number;
	/** The host's page size in bytes, a power of two. */
	readonly pageSize: number;
	/** What the kernel lets us map; the whole region when left out. */
	readonly sparse?: readonly { readonly offset: number; readonly size: number }[] | undefined;
	/** The MSI-X table, when it is in this BAR. */
	readonly table?: { readonly offset: number; readonly vectors: number } | undefined;
}

/**
 * The areas of a BAR to map, in order and apart from each other. Each is page aligned, except that a BAR smaller than a
 * page is mapped whole. (MSI-X tables and registers may share a page: PCI Local Bus 3.0, section 6.8.2.)
 *
 * @example
 * ```ts
 * mappableAreas({ size: 0x10000, pageSize: 0x1000, table: { offset: 0x5200, vectors: 129 } });
 * // [{ start: 0, end: 0x5000 }, { start: 0x6000, end: 0x10000 }]
 * ```
 */
export function mappableAreas(input: MappableInput): Stretch[] {
	const { size, pageSize, table } = input;
	const whole = size < pageSize;
	// The kernel rounds the end of a region up to a page, but what lies past the region's end is not the device's.
	const available = (input.sparse ?? [{ offset: 0, size }])
		.map((area) => ({
			start: whole && area.offset === 0 ? 0 : alignUp(area.offset, pageSize),
			end:
				whole && area.offset + area.size >= size ? size : alignDown(Math.min(area.offset + area.size, size), pageSize),
		}))
		.filter((area) => area.start < area.end)
		.sort((a, b) => a.start - b.start);
	const areas = merge(available);
	if (!table) return areas;
	// Both ends come from the table's true offset; aligning the start first loses the tail of an unaligned table.
	return without(areas, {
		start: alignDown(table.offset, pageSize),
		end: alignUp(table.offset + table.vectors * PCI_MSIX_ENTRY_SIZE, pageSize),
	});
}

/** Takes a hole out of areas. */
export function without(areas: readonly Stretch[], hole: Stretch): Stretch[] {
	const left: Stretch[] = [];
	for (const { start, end } of areas) {
		if (start < Math.min(end, hole.start)) left.push({ start, end: Math.min(end, hole.start) });
		if (Math.max(start, hole.end) < end) left.push({ start: Math.max(start, hole.end), end });
	}
	return left;
}

function merge(sorted: readonly Stretch[]): Stretch[] {
	const merged: Stretch[] = [];
	for (const area of sorted) {
		const last = merged.at(-1);
		if (last && area.start <= last.end)
			merged[merged.length - 1] = { start: last.start, end: Math.max(last.end, area.end) };
		else merged.push(area);
	}
	return merged;
}
