/**
 * What a container has mapped: one record for each VFIO_IOMMU_MAP_DMA, never merged and never split.
 *
 * @module
 */
import type { AddressSpace, PinnedMemory } from "../address-space.ts";
import type { DirtyBitmap } from "./dirty-bitmap.ts";

/** One mapping of a container. */
export class DmaRecord {
	readonly iova: bigint;
	/** Bytes. */
	readonly size: bigint;
	/** The last address. */
	readonly last: bigint;
	readonly pinned: PinnedMemory;
	/** Pages charged against the memory lock limit. */
	readonly lockedPages: number;
	/** Whose limit they are charged against. */
	owner: AddressSpace;
	/** Cleared by VFIO_DMA_UNMAP_FLAG_VADDR: the user's address is about to change. */
	addressValid = true;
	/** While dirty pages are tracked. */
	dirty: DirtyBitmap | undefined;

	constructor(iova: bigint, size: bigint, pinned: PinnedMemory, lockedPages: number, owner: AddressSpace) {
		this.iova = iova;
		this.size = size;
		this.last = iova + size - 1n;
		this.pinned = pinned;
		this.lockedPages = lockedPages;
		this.owner = owner;
	}
}

/** The records of a container, by address. */
export class DmaRecords {
	/** In address order, disjoint. */
	readonly #records: DmaRecord[] = [];

	get count(): number {
		return this.#records.length;
	}

	/** In address order. */
	get all(): readonly DmaRecord[] {
		return this.#records;
	}

	add(record: DmaRecord): void {
		this.#records.splice(this.#firstEndingAt(record.iova), 0, record);
	}

	remove(record: DmaRecord): void {
		const at = this.#firstEndingAt(record.iova);
		if (this.#records[at] === record) this.#records.splice(at, 1);
	}

	/** The first record that touches `[start, last]`. */
	first(start: bigint, last: bigint): DmaRecord | undefined {
		const record = this.#records[this.#firstEndingAt(start)];
		return record && record.iova <= last ? record : undefined;
	}

	/** The records that touch `[start, last]`, in address order. */
	touching(start: bigint, last: bigint): DmaRecord[] {
		const found: DmaRecord[] = [];
		for (let at = this.#firstEndingAt(start); at < this.#records.length; at++) {
			const record = this.#records[at] as DmaRecord;
			if (record.iova > last) break;
			found.push(record);
		}
		return found;
	}

	/** Whether one end of `[start, last]` falls inside a record. */
	cuts(start: bigint, last: bigint): boolean {
		const low = this.first(start, start);
		const high = this.first(last, last);
		return (low !== undefined && low.iova !== start) || (high !== undefined && high.last !== last);
	}

	/** The index of the first record whose last address is not below `address`. */
	#firstEndingAt(address: bigint): number {
		let low = 0;
		let high = this.#records.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if ((this.#records[middle] as DmaRecord).last < address) low = middle + 1;
			else high = middle;
		}
		return low;
	}
}
