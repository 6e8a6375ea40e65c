/**
 * Memory for devices that no IOMMU stands before: their driver pins the pages that the user has mapped, and moves the
 * bytes in the device's place (Linux's vfio_pin_pages and vfio_dma_rw).
 *
 * @module
 */
import { Releases } from "../../../core/release.ts";
import { EFAULT, EINVAL, ENOMEM, EPERM } from "../../../core/uapi/errno.ts";
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from "../../../core/uapi/vfio.ts";
import { PAGE_SIZE, type PinnedMemory } from "../address-space.ts";
import type { DmaRecord, DmaRecords } from "./dma-records.ts";

/** What a driver reaches through the container, or the iommufd, that its device is open in. */
export interface EmulatedDma {
	/**
	 * Pins one page. Every pin needs its {@link unpin}.
	 *
	 * @param access bits `VFIO_DMA_MAP_FLAG_READ` and `VFIO_DMA_MAP_FLAG_WRITE`
	 * @returns the page; -EINVAL when nothing is mapped there, -EPERM when it is mapped for less, -EFAULT when the user has no
	 *   memory there, -ENOMEM at the memory lock limit
	 */
	pin(iova: bigint, access: number): PinnedMemory | number;
	/** Gives a pin back. */
	unpin(iova: bigint): void;
	/** Copies from the user's memory, without a pin. @returns 0 or -errno */
	read(iova: bigint, into: Uint8Array): number;
	/** Copies into it. @returns 0 or -errno */
	write(iova: bigint, from: Uint8Array): number;
	/** Calls back before a mapping goes: what is pinned of it has to be given back. */
	onUnmap(listener: (iova: bigint, size: bigint) => void): Disposable;
}

const PAGE = BigInt(PAGE_SIZE);

/** The same on a container's records. */
export class ContainerDma implements EmulatedDma {
	readonly #records: DmaRecords;
	/** Whether one page more may be charged to an owner. */
	readonly #mayLock: (record: DmaRecord) => boolean;
	readonly #listeners = new Set<(iova: bigint, size: bigint) => void>();

	constructor(records: DmaRecords, mayLock: (record: DmaRecord) => boolean) {
		this.#records = records;
		this.#mayLock = mayLock;
	}

	pin(iova: bigint, access: number): PinnedMemory | number {
		const start = iova & ~(PAGE - 1n);
		const record = this.#records.first(start, start + PAGE - 1n);
		if (!record || record.iova > start) return -EINVAL;
		if ((record.access & access) !== access) return -EPERM;
		const page = pageOf(record, start);
		const known = record.driverPins.get(page);
		if (known) {
			known.count++;
			return known.memory;
		}
		const memory = record.owner.pin(
			record.vaddr + (start - record.iova),
			PAGE,
			(record.access & VFIO_DMA_MAP_FLAG_WRITE) !== 0,
		);
		if (typeof memory === "number") return memory;
		// What an IOMMU's mapping has pinned is charged already.
		if (memory.accounted && !record.pinned) {
			if (!this.#mayLock(record)) {
				memory.release();
				return -ENOMEM;
			}
			record.charge(1);
		}
		record.driverPins.set(page, { memory, count: 1 });
		record.dirty?.mark(page);
		return memory;
	}

	unpin(iova: bigint): void {
		const record = this.#records.first(iova, iova);
		if (!record) return;
		const page = pageOf(record, iova);
		const pin = record.driverPins.get(page);
		if (pin && --pin.count === 0) drop(record, page);
	}

	read(iova: bigint, into: Uint8Array): number {
		return this.#copy(iova, into.length, VFIO_DMA_MAP_FLAG_READ, (record, address, start, length) => {
			const bytes = record.owner.read(address, length);
			if (bytes) into.set(bytes, start);
			return bytes !== undefined;
		});
	}

	write(iova: bigint, from: Uint8Array): number {
		return this.#copy(iova, from.length, VFIO_DMA_MAP_FLAG_WRITE, (record, address, start, length) => {
			const written = record.owner.write(address, from.subarray(start, start + length));
			const last = pageOf(record, record.iova + (address - record.vaddr) + BigInt(length) - 1n);
			for (let page = pageOf(record, record.iova + (address - record.vaddr)); page <= last; page++)
				record.dirty?.mark(page);
			return written;
		});
	}

	onUnmap(listener: (iova: bigint, size: bigint) => void): Disposable {
		this.#listeners.add(listener);
		return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
	}

	/** A record is about to go. Whoever keeps a page of it all the same, or throws, loses it. */
	leaving(record: DmaRecord): void {
		if (record.driverPins.size === 0) return;
		const releases = new Releases();
		releases.defer(() => {
			for (const page of [...record.driverPins.keys()]) drop(record, page);
		});
		for (const listener of [...this.#listeners].reverse()) releases.defer(() => listener(record.iova, record.size));
		releases[Symbol.dispose]();
	}

	/** Does something for each stretch that lies in one record. @returns 0, -EINVAL, -EPERM or -EFAULT */
	#copy(
		iova: bigint,
		length: number,
		access: number,
		move: (record: DmaRecord, address: bigint, start: number, length: number) => boolean,
	): number {
		for (let done = 0; done < length; ) {
			const at = iova + BigInt(done);
			const record = this.#records.first(at, at);
			if (!record) return -EINVAL;
			// What may be written only cannot be told from what may be read, and is refused as well.
			if ((record.access & access) === 0 || (record.access & VFIO_DMA_MAP_FLAG_READ) === 0) return -EPERM;
			const left = Number(record.last - at) + 1;
			const part = Math.min(length - done, left);
			if (!move(record, record.vaddr + (at - record.iova), done, part)) return -EFAULT;
			done += part;
		}
		return 0;
	}
}

function pageOf(record: DmaRecord, iova: bigint): number {
	return Number((iova - record.iova) / PAGE);
}

function drop(record: DmaRecord, page: number): void {
	const pin = record.driverPins.get(page);
	if (!pin) return;
	record.driverPins.delete(page);
	if (pin.memory.accounted && !record.pinned) record.charge(-1);
	pin.memory.release();
}
