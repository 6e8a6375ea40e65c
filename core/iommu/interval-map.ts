/**
 * Stretches of an address space that do not overlap, in order: what is mapped where.
 *
 * @module
 */

/** A stretch of addresses. */
export interface Interval {
	readonly start: bigint;
	/** Bytes, more than 0. */
	readonly size: bigint;
}

/**
 * Intervals ordered by their start.
 *
 * @example
 * ```ts
 * const mapped = new IntervalMap<Interval>();
 * mapped.add({ start: 0x1000n, size: 0x1000n });
 * mapped.overlapping(0x1800n, 0x10n); // [{ start: 0x1000n, size: 0x1000n }]
 * ```
 */
export class IntervalMap<T extends Interval> {
	readonly #entries: T[] = [];

	/** How many there are. */
	get size(): number {
		return this.#entries.length;
	}

	/** In address order. */
	[Symbol.iterator](): IterableIterator<T> {
		return this.#entries.values();
	}

	/** @returns false, and nothing is added, when it overlaps one that is there */
	add(entry: T): boolean {
		const at = this.#firstEndingAfter(entry.start);
		const next = this.#entries[at];
		if (next && next.start < entry.start + entry.size) return false;
		this.#entries.splice(at, 0, entry);
		return true;
	}

	/** @returns whether that very entry was there */
	delete(entry: T): boolean {
		const at = this.#firstEndingAfter(entry.start);
		if (this.#entries[at] !== entry) return false;
		this.#entries.splice(at, 1);
		return true;
	}

	/** Whether that very entry is there. */
	has(entry: T): boolean {
		return this.#entries[this.#firstEndingAfter(entry.start)] === entry;
	}

	/** What has at least one address in common with the stretch, in order. @param size bytes */
	overlapping(start: bigint, size: bigint): T[] {
		const first = this.#firstEndingAfter(start);
		let end = first;
		while (end < this.#entries.length && (this.#entries[end] as T).start < start + size) end++;
		return this.#entries.slice(first, end);
	}

	clear(): void {
		this.#entries.length = 0;
	}

	/** Where the first entry is whose end is above `address`. */
	#firstEndingAfter(address: bigint): number {
		let low = 0;
		let high = this.#entries.length;
		while (low < high) {
			const middle = (low + high) >> 1;
			const { start, size } = this.#entries[middle] as T;
			if (start + size > address) high = middle;
			else low = middle + 1;
		}
		return low;
	}
}

/** Whether the stretch has a part of the entry and not the whole. */
export function cuts(entry: Interval, start: bigint, size: bigint): boolean {
	const end = start + size;
	const entryEnd = entry.start + entry.size;
	const apart = entryEnd <= start || end <= entry.start;
	return !apart && (entry.start < start || end < entryEnd);
}
