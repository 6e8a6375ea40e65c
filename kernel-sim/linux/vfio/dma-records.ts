/**
 * What a container has mapped: one record for each VFIO_IOMMU_MAP_DMA, never merged and never split.
 *
 * @module
 */
import type { AddressSpace, PinnedMemory } from "../address-space.ts";
import type { DirtyBitmap } from "./dirty-bitmap.ts";

/** A page that a driver has pinned for a device without an IOMMU. */
export interface DriverPin {
	readonly memory: PinnedMemory;
	/** How often it is pinned. */
	count: number;
}

/** Who has mapped something, as far as a record needs to know him. */
export interface RecordOwner {
	readonly memory: AddressSpace;
	/** RLIMIT_MEMLOCK, bytes. */
	readonly memlock: number;
	readonly lockedPages: number;
	capable(capability: "CAP_IPC_LOCK"): boolean;
}

/** One mapping of a container. */
export class DmaRecord {
	readonly iova: bigint;
	/** Bytes. */
	readonly size: bigint;
	/** The last address. */
	readonly last: bigint;
	/** The user's address of it. */
	vaddr: bigint;
	/** Bits `VFIO_DMA_MAP_FLAG_READ` and `VFIO_DMA_MAP_FLAG_WRITE`. */
	readonly access: number;
	/** All of it, while a group in the container has an IOMMU. */
	pinned: PinnedMemory | undefined;
	/** What drivers have pinned, by page from the record's start. */
	readonly driverPins = new Map<number, DriverPin>();
	/** Pages charged against the memory lock limit. */
	lockedPages = 0;
	/** Whose limit they are charged against, and whose memory it is. */
	process: RecordOwner;
	/** Cleared by VFIO_DMA_UNMAP_FLAG_VADDR: the user's address is about to change. */
	addressValid = true;
	/** While dirty pages are tracked. */
	dirty: DirtyBitmap | undefined;

	constructor(iova: bigint, size: bigint, vaddr: bigint, access: number, process: RecordOwner) {
		this.iova = iova;
		this.size = size;
		this.last = iova + size - 1n;
		this.vaddr = vaddr;
		this.access = access;
		this.process = process;
	}

	get owner(): AddressSpace {
		return this.process.memory;
	}

	/** How many pages are charged because drivers have pinned them. */
	get driverPages(): number {
		let pages = 0;
		for (const { memory } of this.driverPins.values()) if (memory.accounted) pages++;
		return pages;
	}

	/** Charges more or fewer pages. */
	charge(pages: number): void {
		this.lockedPages += pages;
		this.owner.lockedPages += pages;
	}
}

/** Addresses that a mapping takes. */
interface Mapped {
	readonly iova: bigint;
	/** The last address. */
	readonly last: bigint;
}

/** Mappings of one address space, by address. */
export class DmaRecords<T extends Mapped = DmaRecord> {
	/** In address order, disjoint. */
	readonly #records: T[] = [];

	get count(): number {
		return this.#records.length;
	}

	/** In address order. */
	get all(): readonly T[] {
		return this.#records;
	}

	add(record: T): void {
		this.#records.splice(this.#firstEndingAt(record.iova), 0, record);
	}

	remove(record: T): void {
		const at = this.#firstEndingAt(record.iova);
		if (this.#records[at] === record) this.#records.splice(at, 1);
	}

	/** The first record that touches `[start, last]`. */
	first(start: bigint, last: bigint): T | undefined {
		const record = this.#records[this.#firstEndingAt(start)];
		return record && record.iova <= last ? record : undefined;
	}

	/** The records that touch `[start, last]`, in address order. */
	touching(start: bigint, last: bigint): T[] {
		const found: T[] = [];
		for (let at = this.#firstEndingAt(start); at < this.#records.length; at++) {
			const record = this.#records[at] as T;
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
			if ((this.#records[middle] as T).last < address) low = middle + 1;
			else high = middle;
		}
		return low;
	}
}
