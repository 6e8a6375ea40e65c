/**
 * Which I/O virtual addresses a container's user may map.
 *
 * @module
 */
import type { ReservedRegion } from "../iommu-group.ts";

/** Addresses from `start` to `end`, `end` included. */
export interface IovaRange {
	readonly start: bigint;
	readonly end: bigint;
}

/** The highest address there is. */
export const LAST_ADDRESS = (1n << 64n) - 1n;

/**
 * What an IOMMU can translate, less what is reserved.
 *
 * @param addressWidth bits of an I/O virtual address
 * @param reserved of all groups
 * @returns ranges in order
 */
export function usableRanges(addressWidth: number, reserved: readonly ReservedRegion[]): IovaRange[] {
	let ranges: IovaRange[] = [{ start: 0n, end: (1n << BigInt(addressWidth)) - 1n }];
	for (const region of reserved) {
		// Linux offers these addresses to users, though devices may have been using them before.
		if (region.kind === "direct-relaxable") continue;
		ranges = ranges.flatMap((range) => [
			...(range.start < region.start
				? [{ start: range.start, end: region.start - 1n < range.end ? region.start - 1n : range.end }]
				: []),
			...(range.end > region.end
				? [{ start: region.end + 1n > range.start ? region.end + 1n : range.start, end: range.end }]
				: []),
		]);
	}
	return ranges;
}

/** Whether `[start, last]` lies in one of the ranges. */
export function insideOneRange(ranges: readonly IovaRange[], start: bigint, last: bigint): boolean {
	return ranges.some((range) => start >= range.start && last <= range.end);
}
