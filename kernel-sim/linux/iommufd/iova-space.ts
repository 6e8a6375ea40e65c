/**
 * Which addresses of an address space may be mapped: what is reserved, and what a program has promised to devices.
 *
 * @module
 */
import { EADDRINUSE, EINVAL } from "../../../core/uapi/errno.ts";
import { LAST_ADDRESS } from "../vfio/iova-ranges.ts";
import { allocateIova, holes, meet, type Span } from "./iova-allocation.ts";

/** Addresses that are not free for mappings, and because of what. */
interface Reservation extends Span {
	readonly owner: object;
}

const ALL: Span = { start: 0n, last: LAST_ADDRESS };

/** The addresses of an address space, whatever is mapped there. */
export class IovaSpace {
	#reserved: Reservation[] = [];
	#allowed: readonly Span[] = [];

	/** What is not reserved, in order. */
	get ranges(): Span[] {
		return holes(ALL, this.#reserved);
	}

	/** Whether any address of a span is reserved. */
	reserves(span: Span): boolean {
		return this.#reserved.some((one) => meet(one, span));
	}

	/**
	 * Takes addresses from what can be mapped.
	 *
	 * @param isMapped whether something is mapped in a span
	 * @returns -EADDRINUSE when they are mapped or promised already
	 */
	reserve(spans: readonly Span[], owner: object, isMapped: (span: Span) => boolean): number {
		for (const span of spans) if (isMapped(span) || this.#allowed.some((one) => meet(one, span))) return -EADDRINUSE;
		for (const { start, last } of spans) this.#reserved.push({ start, last, owner });
		return 0;
	}

	/** Gives back what was taken for an owner. */
	unreserve(owner: object): void {
		this.#reserved = this.#reserved.filter((one) => one.owner !== owner);
	}

	/** Where free places are looked for; anywhere when there are none. @returns 0, -EINVAL when they overlap, -EADDRINUSE when one is reserved */
	allow(spans: readonly Span[]): number {
		const sorted = [...spans].sort((one, other) => (one.start < other.start ? -1 : 1));
		for (const [index, span] of sorted.entries()) {
			const next = sorted[index + 1];
			if (next && meet(span, next)) return -EINVAL;
		}
		if (spans.some((span) => this.reserves(span))) return -EADDRINUSE;
		this.#allowed = sorted;
		return 0;
	}

	/**
	 * Looks for a free place.
	 *
	 * @param address of the memory
	 * @param length bytes, not 0
	 * @returns the first address, or -errno
	 */
	allocate(address: bigint, length: bigint, alignment: bigint, mapped: readonly Span[]): bigint | number {
		return allocateIova({ address, length, alignment, allowed: this.#allowed, used: [...this.#reserved, ...mapped] });
	}
}
