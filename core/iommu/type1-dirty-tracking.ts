/**
 * Dirty pages of a container: `VFIO_IOMMU_DIRTY_PAGES`.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { retry } from "../retry.ts";
import {
	VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
	VFIO_IOMMU_DIRTY_PAGES,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_bitmap,
	vfio_iommu_type1_dirty_bitmap,
	vfio_iommu_type1_dirty_bitmap_get,
	vfio_iommu_type1_dma_unmap,
} from "../uapi/vfio.ts";
import { DirtyBitmap, type DirtyTracking, dirtyCallFailed } from "./dirty-tracking.ts";
import type { IommuInfo } from "./iommu.ts";

/** The mappings of a container, as far as tracking them goes. `Type1` has them. */
export interface TrackedMappings {
	readonly version: 1 | 2;
	info(): IommuInfo;
	forget(iova: bigint, size: bigint): void;
}

/** {@link DirtyTracking} of a container. {@link unmap} leaves no gap between looking and unmapping. */
export class Type1DirtyTracking implements DirtyTracking, Disposable {
	readonly #kernel: Kernel;
	readonly #fd: number;
	readonly #iommu: TrackedMappings;
	readonly #bitmap: DirtyBitmap;

	/** @param iommu whose mappings are tracked; it makes this object */
	constructor(kernel: Kernel, fd: number, iommu: TrackedMappings) {
		this.#kernel = kernel;
		this.#fd = fd;
		this.#iommu = iommu;
		this.#bitmap = new DirtyBitmap(kernel);
	}

	start(): void {
		this.#capability();
		this.#switch(VFIO_IOMMU_DIRTY_PAGES_FLAG_START, "start");
	}

	stop(): void {
		this.#capability();
		this.#switch(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP, "stop");
	}

	bitmap(iova: bigint, size: bigint): Uint8Array {
		const { pageSize, maxBitmapSize } = this.#capability();
		const { address, bytes } = this.#bitmap.prepare(size, pageSize, maxBitmapSize);
		const at = vfio_iommu_type1_dirty_bitmap.size;
		const request = vfio_iommu_type1_dirty_bitmap.create(vfio_iommu_type1_dirty_bitmap_get.size);
		request.argsz = request.bytes.length;
		request.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
		const get = vfio_iommu_type1_dirty_bitmap_get.view(request.bytes, at);
		get.iova = iova;
		get.size = size;
		get.bitmap_pgsize = pageSize;
		get.bitmap_size = BigInt(bytes.length);
		get.bitmap_data = address;
		this.#call(VFIO_IOMMU_DIRTY_PAGES, request.bytes, "read dirty pages");
		return bytes;
	}

	unmap(iova: bigint, size: bigint): Uint8Array {
		const { pageSize, maxBitmapSize } = this.#capability();
		const { address, bytes } = this.#bitmap.prepare(size, pageSize, maxBitmapSize);
		const request = vfio_iommu_type1_dma_unmap.create(vfio_bitmap.size);
		request.argsz = request.bytes.length;
		request.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
		request.iova = iova;
		request.size = size;
		const bitmap = vfio_bitmap.view(request.bytes, vfio_iommu_type1_dma_unmap.size);
		bitmap.pgsize = pageSize;
		bitmap.size = BigInt(bytes.length);
		bitmap.data = address;
		this.#call(VFIO_IOMMU_UNMAP_DMA, request.bytes, "read dirty pages");
		this.#iommu.forget(iova, size);
		return bytes;
	}

	/** Frees the bitmap's memory. */
	[Symbol.dispose](): void {
		this.#bitmap[Symbol.dispose]();
	}

	#capability(): { pageSize: bigint; maxBitmapSize: bigint } {
		const info = this.#iommu.info();
		if (this.#iommu.version === 1 || !info.dirtyTracking)
			throw new VfioError("unsupported-iommu", "Cannot track dirty pages: this kernel's container has no such thing");
		return { pageSize: info.pageSize, maxBitmapSize: info.dirtyTracking.maxBitmapSize };
	}

	#switch(flags: number, action: string): void {
		const request = vfio_iommu_type1_dirty_bitmap.create();
		request.argsz = request.bytes.length;
		request.flags = flags;
		this.#call(VFIO_IOMMU_DIRTY_PAGES, request.bytes, `${action} tracking dirty pages`);
	}

	#call(request: number, bytes: Uint8Array, action: string): void {
		try {
			retry(() => this.#kernel.ioctl(this.#fd, request, bytes));
		} catch (cause) {
			throw dirtyCallFailed(action, cause);
		}
	}
}
