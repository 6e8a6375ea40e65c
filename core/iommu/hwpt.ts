/**
 * Page tables of iommufd that record which pages devices write.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EINVAL, ENOENT, EOPNOTSUPP } from "../uapi/errno.ts";
import {
	IOMMU_HWPT_ALLOC,
	IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	IOMMU_HWPT_GET_DIRTY_BITMAP,
	IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
	IOMMU_HWPT_SET_DIRTY_TRACKING,
	iommu_hwpt_alloc,
	iommu_hwpt_get_dirty_bitmap,
	iommu_hwpt_set_dirty_tracking,
} from "../uapi/iommufd.ts";
import { explainAttach } from "./attach-errors.ts";
import type { BoundDevice } from "./bound-device.ts";
import { bitmapLength, DirtyBitmap, type DirtyTracking, dirtyCallFailed } from "./dirty-tracking.ts";
import type { Interval } from "./interval-map.ts";
import type { IommufdSpace } from "./iommufd-space.ts";

/** A page table that we asked for. Those that the kernel makes by itself record nothing. */
export interface Hwpt {
	readonly id: number;
}

/**
 * `IOMMU_HWPT_ALLOC` with dirty tracking.
 *
 * @returns undefined when the device's IOMMU does not have it after all
 * @throws VfioError what {@link Ioas.attach} throws, since a page table starts with all mappings
 */
export function allocateHwpt(ioas: IommufdSpace, device: BoundDevice): Hwpt | undefined {
	const request = iommu_hwpt_alloc.create();
	request.size = iommu_hwpt_alloc.size;
	request.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	request.dev_id = device.devid;
	request.pt_id = ioas.id;
	try {
		retry(() => ioas.kernel.ioctl(ioas.iommufd.fd, IOMMU_HWPT_ALLOC, request.bytes));
	} catch (cause) {
		if (isErrno(cause, EOPNOTSUPP, EINVAL, ENOENT)) return undefined;
		throw explainAttach(ioas, device, cause);
	}
	return { id: request.out_hwpt_id };
}

/**
 * {@link DirtyTracking} of an address space: it works while every device in it has a page table that records. Between
 * looking and unmapping, {@link unmap} leaves a gap: a device that is not stopped may write in it unseen.
 */
export class HwptDirtyTracking implements DirtyTracking, Disposable {
	/** Bytes of the longest bitmap that is asked for at once, as with containers: it is that of 8 TiB in pages of 4 KiB. */
	static readonly LIMIT = 0x1000_0000n;
	readonly #ioas: IommufdSpace;
	readonly #hwpts: ReadonlySet<Hwpt>;
	readonly #tables: () => readonly (Hwpt | undefined)[];
	readonly #bitmap: DirtyBitmap;
	#on = false;

	/** @param tables the page table of each device; undefined for one that the kernel made */
	constructor(ioas: IommufdSpace, hwpts: ReadonlySet<Hwpt>, tables: () => readonly (Hwpt | undefined)[]) {
		this.#ioas = ioas;
		this.#hwpts = hwpts;
		this.#tables = tables;
		this.#bitmap = new DirtyBitmap(ioas.kernel);
	}

	/** All devices' page tables record, and there is a device. */
	get supported(): boolean {
		return this.#hwpts.size > 0 && this.#tables().every((table) => table !== undefined);
	}

	start(): void {
		this.#requireSupport();
		const started = new Releases();
		try {
			for (const hwpt of this.#hwpts) {
				this.#switch(hwpt, true);
				started.defer(() => this.#switch(hwpt, false));
			}
			this.#on = true;
			started.move();
		} finally {
			started[Symbol.dispose]();
		}
	}

	/** A device that came later may record nothing, and the others are to stop all the same. */
	stop(): void {
		if (!this.#on) this.#requireSupport();
		const stopped = new Releases();
		for (const hwpt of this.#hwpts) stopped.defer(() => this.#switch(hwpt, false));
		stopped[Symbol.dispose]();
		this.#on = false;
	}

	bitmap(iova: bigint, size: bigint): Uint8Array {
		return this.#read(iova, size, 0);
	}

	unmap(iova: bigint, size: bigint): Uint8Array {
		const bitmap = this.#read(iova, size, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR);
		this.#ioas.unmap(iova, size);
		return bitmap;
	}

	/** A page table that joins while others record has to record as well. */
	joined(hwpt: Hwpt): void {
		if (this.#on) this.#switch(hwpt, true);
	}

	/** Frees the bitmap's memory. */
	[Symbol.dispose](): void {
		this.#bitmap[Symbol.dispose]();
	}

	/**
	 * The kernel stops at the first hole and does not say so, so that each run of mappings is asked for by itself; its bits
	 * start with those of its own first page.
	 */
	#read(iova: bigint, size: bigint, flags: number): Uint8Array {
		this.#requireSupport();
		if (!this.#on) throw new VfioError("invalid-argument", "Cannot read dirty pages: tracking was not started");
		const { pageSize } = this.#ioas.info();
		const runs = mappedRuns(this.#ioas.mappings, iova, size);
		const [only] = runs;
		if (runs.length === 1 && only?.start === iova && only.size === size) return this.#readRun(only, pageSize, flags);
		const whole = new Uint8Array(bitmapLength(size, pageSize, HwptDirtyTracking.LIMIT));
		for (const run of runs) {
			const from = Number((run.start - iova) / pageSize);
			const bits = this.#readRun(run, pageSize, flags);
			for (let n = 0; n < Number(run.size / pageSize); n++)
				if ((bits[n >> 3] as number) & (1 << (n & 7))) {
					const at = (from + n) >> 3;
					whole[at] = (whole[at] as number) | (1 << ((from + n) & 7));
				}
		}
		return whole;
	}

	/** The kernel adds bits and takes none away, so that one bitmap serves all page tables in turn. */
	#readRun(run: Interval, pageSize: bigint, flags: number): Uint8Array {
		const { address, bytes } = this.#bitmap.prepare(run.size, pageSize, HwptDirtyTracking.LIMIT);
		for (const hwpt of this.#hwpts) {
			const request = iommu_hwpt_get_dirty_bitmap.create();
			request.size = iommu_hwpt_get_dirty_bitmap.size;
			request.hwpt_id = hwpt.id;
			request.flags = flags;
			request.iova = run.start;
			request.length = run.size;
			request.page_size = pageSize;
			request.data = address;
			this.#call(IOMMU_HWPT_GET_DIRTY_BITMAP, request.bytes, "read dirty pages");
		}
		return bytes;
	}

	#switch(hwpt: Hwpt, on: boolean): void {
		const request = iommu_hwpt_set_dirty_tracking.create();
		request.size = iommu_hwpt_set_dirty_tracking.size;
		request.flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0;
		request.hwpt_id = hwpt.id;
		const action = `${on ? "start" : "stop"} tracking dirty pages`;
		this.#call(IOMMU_HWPT_SET_DIRTY_TRACKING, request.bytes, action);
	}

	#requireSupport(): void {
		if (this.supported) return;
		throw new VfioError(
			"unsupported-iommu",
			"Cannot track dirty pages: the IOMMU of a device in the address space does not record them",
		);
	}

	#call(request: number, bytes: Uint8Array, action: string): void {
		const { kernel, iommufd } = this.#ioas;
		try {
			retry(() => kernel.ioctl(iommufd.fd, request, bytes));
		} catch (cause) {
			throw dirtyCallFailed(action, cause);
		}
	}
}

/** What is mapped of a stretch, neighbours joined. */
function mappedRuns(mappings: Iterable<Interval>, iova: bigint, size: bigint): Interval[] {
	const runs: { start: bigint; size: bigint }[] = [];
	for (const mapping of mappings) {
		const start = mapping.start > iova ? mapping.start : iova;
		let end = mapping.start + mapping.size;
		if (end > iova + size) end = iova + size;
		if (end <= start) continue;
		const last = runs.at(-1);
		if (last && last.start + last.size === start) last.size += end - start;
		else runs.push({ start, size: end - start });
	}
	return runs;
}
