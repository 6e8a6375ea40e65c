/**
 * Which I/O virtual addresses are free.
 *
 * @module
 */
import { EINVAL, ENOSPC, EOVERFLOW } from "../../../core/uapi/errno.ts";
import { PAGE_SIZE } from "../address-space.ts";
import { LAST_ADDRESS } from "../vfio/iova-ranges.ts";

/** Addresses, both ends included. */
export interface Span {
	readonly start: bigint;
	readonly last: bigint;
}

const PAGE = BigInt(PAGE_SIZE);
/** A huge page of x86: aligning to more gains nothing. */
const LARGEST_ALIGNMENT = 0x20_0000n;

/** What of a span is in none of the others. @returns in order */
export function holes(within: Span, used: readonly Span[]): Span[] {
	const free: Span[] = [];
	let next = within.start;
	for (const { start, last } of [...used].sort((one, other) => (one.start < other.start ? -1 : 1))) {
		if (start > within.last) break;
		if (start > next) free.push({ start: next, last: start - 1n });
		if (last >= next) next = last + 1n;
	}
	if (next <= within.last) free.push({ start: next, last: within.last });
	return free;
}

/** Whether two spans have an address in common. */
export function meet(one: Span, other: Span): boolean {
	return one.start <= other.last && other.start <= one.last;
}

/** What is to be placed. */
export interface Placement {
	/** The memory's own address: huge pages of it can be huge pages of the IOMMU when both are aligned alike. */
	readonly address: bigint;
	/** Bytes, not 0. */
	readonly length: bigint;
	/** What the address space asks of every mapping. */
	readonly alignment: bigint;
	/** Only in these; anywhere when there are none. */
	readonly allowed: readonly Span[];
	readonly used: readonly Span[];
}

/** The lowest address from the second page on that is free and aligned as the memory is. @returns -errno when there is none */
export function allocateIova(placement: Placement): bigint | number {
	const { address, length, allowed, used } = placement;
	if (length >= LAST_ADDRESS / 2n) return -EOVERFLOW;
	let alignment = powerOfTwoFrom(length);
	const lowest = address & -address;
	if (lowest !== 0n && lowest < alignment) alignment = lowest;
	if (alignment > LARGEST_ALIGNMENT) alignment = LARGEST_ALIGNMENT;
	if (alignment < placement.alignment) return -EINVAL;
	const inPage = address % PAGE;
	for (const { start, last } of allowed.length > 0 ? allowed : [{ start: 0n, last: LAST_ADDRESS }])
		for (const hole of holes({ start: start > PAGE ? start : PAGE, last }, used)) {
			const aligned = ((hole.start + alignment - 1n) & -alignment) | inPage;
			// Below the memory's offset in its page there may be room that the alignment has jumped over.
			const iova = aligned < hole.start ? aligned + alignment : aligned;
			if (iova + length - 1n <= hole.last) return iova;
		}
	return -ENOSPC;
}

/** The smallest power of two that is not less. */
function powerOfTwoFrom(length: bigint): bigint {
	return length === 1n ? 1n : 1n << BigInt((length - 1n).toString(2).length);
}
