/**
 * The type 1 IOMMU driver of VFIO: one address space for all groups of a container, filled by MAP_DMA.
 *
 * @module
 */
import { Releases } from "../../../core/release.ts";
import {
	EACCES,
	EBUSY,
	EEXIST,
	EFAULT,
	EINVAL,
	ENOENT,
	ENOMEM,
	ENOSPC,
	ENOTTY,
	EOVERFLOW,
	EPERM,
} from "../../../core/uapi/errno.ts";
import {
	VFIO_DMA_MAP_FLAG_READ,
	VFIO_DMA_MAP_FLAG_VADDR,
	VFIO_DMA_MAP_FLAG_WRITE,
	VFIO_DMA_UNMAP_FLAG_ALL,
	VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
	VFIO_DMA_UNMAP_FLAG_VADDR,
	VFIO_IOMMU_DIRTY_PAGES,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_bitmap,
	vfio_iommu_type1_dirty_bitmap,
	vfio_iommu_type1_dirty_bitmap_get,
	vfio_iommu_type1_dma_map,
	vfio_iommu_type1_dma_unmap,
} from "../../../core/uapi/vfio.ts";
import { IommuDomain } from "../../hardware/iommu-domain.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { IoctlArgument } from "../file.ts";
import type { IommuGroup, ReservedRegion } from "../iommu-group.ts";
import type { ModuleParameters } from "../parameters.ts";
import type { SimProcess } from "../process.ts";
import { checkBitmap, DirtyBitmap, type UserBitmap } from "./dirty-bitmap.ts";
import { DmaRecord, DmaRecords, type RecordOwner } from "./dma-records.ts";
import { ContainerDma } from "./emulated-dma.ts";
import { type IovaRange, insideOneRange, LAST_ADDRESS, usableRanges } from "./iova-ranges.ts";
import { answerInfo } from "./type1-info.ts";

/** What the type 1 driver finds on this host. */
export interface Type1Platform {
	readonly version: "6.12" | "7.2";
	readonly parameters: ModuleParameters;
	/** Bits of an I/O virtual address. */
	readonly addressWidth: number;
	/** A bit for each page size of the IOMMU, in bytes. */
	readonly pageSizes: bigint;
	/** Devices without an IOMMU are given to users (`enable_unsafe_noiommu_mode`). */
	readonly noIommuMode: () => boolean;
	/** Messages of a device can only be its own (interrupt remapping). */
	readonly isolatedMsi: boolean;
	/** The IOMMU can force DMA to be coherent with the caches. */
	readonly enforcesCoherency: boolean;
}

const READ_WRITE = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
const MAP_FLAGS = READ_WRITE | VFIO_DMA_MAP_FLAG_VADDR;
const UNMAP_FLAGS = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
const DIRTY_FLAGS =
	VFIO_IOMMU_DIRTY_PAGES_FLAG_START | VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP | VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
const PAGE_MASK = BigInt(PAGE_SIZE) - 1n;
/** What is left of the ranges when the last group with an IOMMU has gone. */
const EVERYTHING: readonly IovaRange[] = [{ start: 0n, end: LAST_ADDRESS }];
/** Where no IOMMU restricts it: everything that is a whole number of pages. */
const ANY_PAGE_SIZE = LAST_ADDRESS & ~PAGE_MASK;

/** A container's IOMMU. All its groups share one page table, those that have an IOMMU. */
export class Type1 {
	readonly #platform: Type1Platform;
	readonly #version2: boolean;
	readonly #domain = new IommuDomain();
	/** Those that have an IOMMU, and those of devices whose drivers pin what they need. */
	readonly #groups: IommuGroup[] = [];
	readonly #emulated: IommuGroup[] = [];
	readonly #records = new DmaRecords();
	/** For the drivers of devices without an IOMMU. */
	readonly dma = new ContainerDma(this.#records, (record) => mayLock(record.process, 1));
	/** dma_entry_limit as it was when the IOMMU was set. */
	readonly #limit: number;
	/** Page sizes as users see them, and the smallest one. Sub-pages are hidden. */
	readonly #pageSizes: bigint;
	readonly #pageSize: bigint;
	/** What a range that wraps around is answered with. */
	readonly #wraps: number;
	/** Empty until a group with an IOMMU comes: then there is nothing that an address could be too much for. */
	#ranges: readonly IovaRange[] = [];
	#invalidAddresses = 0;
	#tracking = false;

	constructor(platform: Type1Platform, options: { version2: boolean }) {
		this.#platform = platform;
		this.#version2 = options.version2;
		this.#limit = platform.parameters.number("vfio_iommu_type1", "dma_entry_limit");
		const whole = platform.pageSizes & ~PAGE_MASK;
		this.#pageSizes = whole === platform.pageSizes ? whole : whole | BigInt(PAGE_SIZE);
		this.#pageSize = this.#pageSizes & -this.#pageSizes;
		this.#wraps = platform.version === "6.12" ? -EINVAL : -EOVERFLOW;
	}

	get enforcesCoherency(): boolean {
		return this.#groups.length === 0 || this.#platform.enforcesCoherency;
	}

	/** A user may move his memory while it is mapped: not while drivers pin it by his addresses. */
	get updatesAddresses(): boolean {
		return this.#emulated.length === 0;
	}

	/** What is mapped, in address order. */
	get records(): readonly DmaRecord[] {
		return this.#records.all;
	}

	/** A group's DMA goes through this page table. @returns 0, or -errno */
	attach(group: IommuGroup): number {
		if (this.#invalidAddresses > 0) return -EBUSY;
		if (group.emulated) {
			this.#emulated.push(group);
			return 0;
		}
		const ranges = this.#usableRanges([...this.#groups, group]);
		for (const record of this.#records.all) if (!insideOneRange(ranges, record.iova, record.last)) return -EINVAL;
		const unsafe = this.#platform.parameters.flag("vfio_iommu_type1", "allow_unsafe_interrupts");
		if (!this.#platform.isolatedMsi && !unsafe) return -EPERM;
		const pinned = this.#groups.length === 0 ? this.#pinAll() : 0;
		if (pinned < 0) return pinned;
		const attached = group.attach(this.#domain);
		if (attached < 0) {
			if (this.#groups.length === 0) this.#unpinAll();
			return attached;
		}
		this.#groups.push(group);
		this.#ranges = ranges;
		return 0;
	}

	/** A group's DMA is blocked again. With the last one everything is unmapped. */
	detach(group: IommuGroup): void {
		const groups = group.emulated ? this.#emulated : this.#groups;
		const at = groups.indexOf(group);
		if (at < 0) return;
		groups.splice(at, 1);
		if (!group.emulated) {
			group.detach();
			this.#ranges = this.#groups.length === 0 ? EVERYTHING : this.#usableRanges(this.#groups);
		}
		if (this.#groups.length === 0 && this.#emulated.length === 0) this.#removeAll([...this.#records.all]);
		else if (this.#groups.length === 0 && !group.emulated) this.#unpinAll();
	}

	ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		switch (request) {
			case VFIO_IOMMU_MAP_DMA:
				return this.#map(process, argument);
			case VFIO_IOMMU_UNMAP_DMA:
				return this.#unmap(process, argument);
			case VFIO_IOMMU_GET_INFO:
				return answerInfo(argument, {
					pageSizes: this.#groups.length === 0 ? ANY_PAGE_SIZE : this.#pageSizes,
					pageSize: this.#pageSize,
					available: this.#limit - this.#records.count,
					ranges: this.#ranges,
				});
			case VFIO_IOMMU_DIRTY_PAGES:
				return this.#dirtyPages(process, argument);
			default:
				return -ENOTTY;
		}
	}

	#map(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(vfio_iommu_type1_dma_map.size);
		if (!bytes) return -EFAULT;
		const { argsz, flags, vaddr, iova, size } = vfio_iommu_type1_dma_map.view(bytes);
		if (argsz < vfio_iommu_type1_dma_map.size || (flags & ~MAP_FLAGS) !== 0) return -EINVAL;
		if (size === 0n) return -EINVAL;
		const last = iova + size - 1n;
		if (last > LAST_ADDRESS || vaddr + size - 1n > LAST_ADDRESS) return this.#wraps;
		const newAddress = (flags & VFIO_DMA_MAP_FLAG_VADDR) !== 0;
		if (newAddress === ((flags & READ_WRITE) !== 0)) return -EINVAL;
		if (((iova | vaddr | size) & (this.#pageSize - 1n)) !== 0n) return -EINVAL;
		const touched = this.#records.first(iova, last);
		if (newAddress) return touched ? this.#changeAddress(process, touched, vaddr, iova, size) : -ENOENT;
		if (touched) return -EEXIST;
		if (this.#records.count >= this.#limit) return -ENOSPC;
		if (this.#ranges.length > 0 && !insideOneRange(this.#ranges, iova, last)) return -EINVAL;
		const record = new DmaRecord(iova, size, vaddr, flags & READ_WRITE, process);
		const pinned = this.#groups.length > 0 ? this.#pin(record) : 0;
		if (pinned < 0) return pinned;
		const tracked = this.#tracking ? this.#track(record) : 0;
		if (tracked < 0) {
			this.#unpin(record);
			return tracked;
		}
		this.#records.add(record);
		return 0;
	}

	/** All of a record, for a device that is free to use any of it. */
	#pin(record: DmaRecord): number {
		const { iova, size, vaddr, access, process } = record;
		const pinned = process.memory.pin(vaddr, size, (access & VFIO_DMA_MAP_FLAG_WRITE) !== 0);
		if (typeof pinned === "number") return pinned;
		// What drivers have pinned of it is charged already.
		const pages = (pinned.accounted ? Number(size / BigInt(PAGE_SIZE)) : 0) - record.lockedPages;
		if (!mayLock(process, pages)) {
			pinned.release();
			return -ENOMEM;
		}
		record.charge(pages);
		record.pinned = pinned;
		this.#domain.map(iova, size, pinned.target, pinned.offset, access);
		return 0;
	}

	#unpin(record: DmaRecord): void {
		if (!record.pinned) return;
		this.#domain.unmap(record.iova, record.size);
		record.pinned.release();
		record.pinned = undefined;
		record.charge(record.driverPages - record.lockedPages);
	}

	/** The first group with an IOMMU has come. */
	#pinAll(): number {
		for (const record of this.#records.all) {
			const pinned = this.#pin(record);
			if (pinned === 0) continue;
			this.#unpinAll();
			return pinned;
		}
		return 0;
	}

	/** The last group with an IOMMU has gone, and drivers still use the mappings. */
	#unpinAll(): void {
		for (const record of this.#records.all) this.#unpin(record);
	}

	/** The pages stay as they are; only whose they are may change. */
	#changeAddress(process: SimProcess, record: DmaRecord, vaddr: bigint, iova: bigint, size: bigint): number {
		if (record.addressValid || record.iova !== iova || record.size !== size) return -EINVAL;
		const pages = record.lockedPages;
		if (record.owner !== process.memory && !mayLock(process, pages)) return -ENOMEM;
		record.charge(-pages);
		record.process = process;
		record.charge(pages);
		record.vaddr = vaddr;
		record.addressValid = true;
		this.#invalidAddresses--;
		return 0;
	}

	#unmap(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(vfio_iommu_type1_dma_unmap.size);
		if (!bytes) return -EFAULT;
		const { argsz, flags, iova, size } = vfio_iommu_type1_dma_unmap.view(bytes);
		if (argsz < vfio_iommu_type1_dma_unmap.size || (flags & ~UNMAP_FLAGS) !== 0) return -EINVAL;
		const wantsBitmap = (flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) !== 0;
		const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
		const addressOnly = (flags & VFIO_DMA_UNMAP_FLAG_VADDR) !== 0;
		if (wantsBitmap && (all || addressOnly)) return -EINVAL;
		const bitmap = wantsBitmap ? readBitmap(argument, argsz, vfio_iommu_type1_dma_unmap.size, size) : undefined;
		if (typeof bitmap === "number") return bitmap;
		if (addressOnly && !this.updatesAddresses) return -EBUSY;
		const mask = this.#pageSize - 1n;
		if ((iova & mask) !== 0n) return -EINVAL;
		if (all ? iova !== 0n || size !== 0n : size === 0n || (size & mask) !== 0n) return -EINVAL;
		const last = all ? LAST_ADDRESS : iova + size - 1n;
		if (last > LAST_ADDRESS) return this.#wraps;
		if (bitmap && (!this.#tracking || bitmap.pageSize !== this.#pageSize)) return -EINVAL;
		if (this.#version2 && !all && this.#records.cuts(iova, last)) return -EINVAL;
		const records = this.#whole(iova, last);
		if (!addressOnly) for (const record of records) this.dma.leaving(record);
		const result = addressOnly ? this.#invalidate(records) : this.#report(process, records, iova, bitmap);
		if (result < 0) return result;
		if (!addressOnly) this.#removeAll(records);
		const done = records.reduce((total, record) => total + record.size, 0n);
		const answer = new DataView(new ArrayBuffer(8));
		answer.setBigUint64(0, done, true);
		return argument.write(new Uint8Array(answer.buffer), vfio_iommu_type1_dma_unmap.offsets.size) ? 0 : -EFAULT;
	}

	/** Version 1 stops at a record that begins before the range; version 2 has refused that already. */
	#whole(iova: bigint, last: bigint): DmaRecord[] {
		const records = this.#records.touching(iova, last);
		return records[0] && records[0].iova < iova ? [] : records;
	}

	/** All or none: a record that was invalidated before undoes this call's. */
	#invalidate(records: readonly DmaRecord[]): number {
		if (records.some((record) => !record.addressValid)) return -EINVAL;
		for (const record of records) record.addressValid = false;
		this.#invalidAddresses += records.length;
		return 0;
	}

	/** @param records in address order */
	#removeAll(records: readonly DmaRecord[]): void {
		const releases = new Releases();
		releases.defer(() => {
			// From the end, where taking one out of a table moves nothing.
			for (let at = records.length - 1; at >= 0; at--) {
				const record = records[at] as DmaRecord;
				this.#records.remove(record);
				if (!record.addressValid) this.#invalidAddresses--;
				this.#unpin(record);
			}
		});
		// A driver that throws keeps no mapping.
		for (const record of records) if (record.driverPins.size > 0) releases.defer(() => this.dma.leaving(record));
		releases[Symbol.dispose]();
	}

	#dirtyPages(process: SimProcess, argument: IoctlArgument): number {
		if (!this.#version2) return -EACCES;
		const bytes = argument.read(vfio_iommu_type1_dirty_bitmap.size);
		if (!bytes) return -EFAULT;
		const { argsz, flags } = vfio_iommu_type1_dirty_bitmap.view(bytes);
		if (argsz < vfio_iommu_type1_dirty_bitmap.size || (flags & ~DIRTY_FLAGS) !== 0) return -EINVAL;
		switch (flags) {
			case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
				return this.#tracking ? 0 : this.#startTracking();
			case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
				this.#stopTracking();
				return 0;
			case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
				return this.#getBitmap(process, argument, argsz);
			default:
				return -EINVAL;
		}
	}

	#getBitmap(process: SimProcess, argument: IoctlArgument, argsz: number): number {
		const offset = vfio_iommu_type1_dirty_bitmap.size;
		if (argsz < offset + vfio_iommu_type1_dirty_bitmap_get.size) return -EINVAL;
		const bytes = argument.read(vfio_iommu_type1_dirty_bitmap_get.size, offset);
		if (!bytes) return -EFAULT;
		const request = vfio_iommu_type1_dirty_bitmap_get.view(bytes);
		const { iova, size } = request;
		const bitmap = { pageSize: request.bitmap_pgsize, size: request.bitmap_size, data: request.bitmap_data };
		if (size === 0n) return -EINVAL;
		const last = iova + size - 1n;
		if (last > LAST_ADDRESS) return this.#wraps;
		if (checkBitmap(bitmap, size) < 0 || bitmap.pageSize !== this.#pageSize) return -EINVAL;
		if (((iova | size) & (this.#pageSize - 1n)) !== 0n) return -EINVAL;
		if (!this.#tracking || this.#records.cuts(iova, last)) return -EINVAL;
		return this.#report(process, this.#records.touching(iova, last), iova, bitmap);
	}

	/** All records, or none. */
	#startTracking(): number {
		for (const record of this.#records.all) {
			const tracked = this.#track(record);
			if (tracked === 0) continue;
			this.#stopTracking();
			return tracked;
		}
		this.#tracking = true;
		return 0;
	}

	#stopTracking(): void {
		for (const record of this.#records.all) record.dirty = undefined;
		this.#tracking = false;
	}

	/** @returns 0, -EINVAL for more pages than a bitmap can have, or -ENOMEM */
	#track(record: DmaRecord): number {
		const bitmap = DirtyBitmap.of(record.size / this.#pageSize);
		if (typeof bitmap === "number") return bitmap;
		record.dirty = bitmap;
		for (const page of record.driverPins.keys()) bitmap.mark(page);
		return 0;
	}

	/** @param base the I/O virtual address of the bitmap's first bit */
	#report(process: SimProcess, records: readonly DmaRecord[], base: bigint, bitmap: UserBitmap | undefined): number {
		if (!bitmap) return 0;
		for (const record of records) {
			const first = Number((record.iova - base) / this.#pageSize);
			// Drivers say what they write; devices behind an IOMMU do not.
			const result = record.dirty?.report(process.memory, bitmap.data, first, this.#groups.length > 0) ?? 0;
			if (result < 0) return result;
			for (const page of record.driverPins.keys()) record.dirty?.mark(page);
		}
		return 0;
	}

	#usableRanges(groups: readonly IommuGroup[]): IovaRange[] {
		const reserved: ReservedRegion[] = groups.flatMap((group) => [...group.reserved]);
		return usableRanges(this.#platform.addressWidth, reserved);
	}
}

/** The pages are charged to everybody; the limit is for those without CAP_IPC_LOCK. */
function mayLock(process: RecordOwner, pages: number): boolean {
	return (
		pages <= 0 ||
		process.capable("CAP_IPC_LOCK") ||
		process.lockedPages + pages <= Math.floor(process.memlock / PAGE_SIZE)
	);
}

/** The bitmap that follows a structure, checked. */
function readBitmap(argument: IoctlArgument, argsz: number, offset: number, range: bigint): UserBitmap | number {
	if (argsz < offset + vfio_bitmap.size) return -EINVAL;
	const bytes = argument.read(vfio_bitmap.size, offset);
	if (!bytes) return -EFAULT;
	const { pgsize, size, data } = vfio_bitmap.view(bytes);
	const bitmap = { pageSize: pgsize, size, data };
	return checkBitmap(bitmap, range) || bitmap;
}
