/**
 * Which pages devices may have written: `VFIO_IOMMU_DIRTY_PAGES`.
 *
 * @module
 */

import { VfioError } from "../errors.ts";
import type { Kernel, Memory } from "../kernel.ts";
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
import type { Type1 } from "./type1.ts";

/**
 * Dirty page tracking of a container. A kernel whose IOMMU has no dirty bits says of every page that it is dirty.
 *
 * @example
 * ```ts
 * iommu.dirty.start();
 * const bitmap = iommu.dirty.bitmap(0n, 0x100000n); // bit 0 of byte 0 is the page at 0
 * iommu.dirty.stop();
 * ```
 */
export class DirtyTracking implements Disposable {
	readonly #kernel: Kernel;
	readonly #fd: number;
	readonly #iommu: Type1;
	#buffer: Memory | undefined;

	/** @param iommu whose mappings are tracked; it makes this object */
	constructor(kernel: Kernel, fd: number, iommu: Type1) {
		this.#kernel = kernel;
		this.#fd = fd;
		this.#iommu = iommu;
	}

	/** @throws VfioError `unsupported-iommu`, `kernel`, `disposed` */
	start(): void {
		this.#capability();
		this.#switch(VFIO_IOMMU_DIRTY_PAGES_FLAG_START, "start");
	}

	/** @throws VfioError `unsupported-iommu`, `kernel`, `disposed` */
	stop(): void {
		this.#capability();
		this.#switch(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP, "stop");
	}

	/**
	 * The pages of a stretch that were written since they were asked for last.
	 *
	 * @param iova page aligned
	 * @param size bytes; the stretch must not cut a mapping
	 * @returns a bit for each page of the smallest size, the lowest first; valid until the next call
	 * @throws VfioError `invalid-argument` when the bitmap is larger than the kernel takes, `unsupported-iommu`, `kernel`, `disposed`
	 */
	bitmap(iova: bigint, size: bigint): Uint8Array {
		const { pageSize, memory, length } = this.#prepare(size);
		const at = vfio_iommu_type1_dirty_bitmap.size;
		const request = vfio_iommu_type1_dirty_bitmap.create(vfio_iommu_type1_dirty_bitmap_get.size);
		request.argsz = request.bytes.length;
		request.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
		const get = vfio_iommu_type1_dirty_bitmap_get.view(request.bytes, at);
		get.iova = iova;
		get.size = size;
		get.bitmap_pgsize = pageSize;
		get.bitmap_size = BigInt(length);
		get.bitmap_data = memory.address;
		this.#call(VFIO_IOMMU_DIRTY_PAGES, request.bytes, "read");
		return memory.bytes.subarray(0, length);
	}

	/**
	 * Unmaps a stretch and says which of its pages were written, with no gap between the two.
	 *
	 * @returns as {@link bitmap}
	 * @throws VfioError as {@link bitmap}
	 */
	unmap(iova: bigint, size: bigint): Uint8Array {
		const { pageSize, memory, length } = this.#prepare(size);
		const request = vfio_iommu_type1_dma_unmap.create(vfio_bitmap.size);
		request.argsz = request.bytes.length;
		request.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
		request.iova = iova;
		request.size = size;
		const bitmap = vfio_bitmap.view(request.bytes, vfio_iommu_type1_dma_unmap.size);
		bitmap.pgsize = pageSize;
		bitmap.size = BigInt(length);
		bitmap.data = memory.address;
		this.#call(VFIO_IOMMU_UNMAP_DMA, request.bytes, "read");
		this.#iommu.forget(iova, size);
		return memory.bytes.subarray(0, length);
	}

	/** Frees the bitmap's memory. */
	[Symbol.dispose](): void {
		this.#buffer?.[Symbol.dispose]();
		this.#buffer = undefined;
	}

	#prepare(size: bigint): { pageSize: bigint; memory: Memory; length: number } {
		const { pageSize, maxBitmapSize } = this.#capability();
		const pages = (size + pageSize - 1n) / pageSize;
		const length = ((pages + 63n) / 64n) * 8n;
		if (length === 0n || length > maxBitmapSize)
			throw new VfioError(
				"invalid-argument",
				`Cannot read dirty pages: ${size} bytes need a bitmap of ${length} bytes, and the kernel takes 8 to ${maxBitmapSize}`,
			);
		return { pageSize, memory: this.#room(Number(length)), length: Number(length) };
	}

	/** Zeroed, since the kernel writes only the words that belong to a mapping. */
	#room(length: number): Memory {
		if (!this.#buffer || this.#buffer.length < length) {
			this[Symbol.dispose]();
			try {
				this.#buffer = this.#kernel.allocate(length);
			} catch (cause) {
				throw new VfioError("kernel", `Cannot read dirty pages: ${(cause as Error).message}`, { cause });
			}
		}
		this.#buffer.bytes.fill(0, 0, length);
		return this.#buffer;
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
		this.#call(VFIO_IOMMU_DIRTY_PAGES, request.bytes, action);
	}

	#call(request: number, bytes: Uint8Array, action: string): void {
		try {
			retry(() => this.#kernel.ioctl(this.#fd, request, bytes));
		} catch (cause) {
			const what = action === "read" ? "read dirty pages" : `${action} tracking dirty pages`;
			throw new VfioError("kernel", `Cannot ${what}: ${(cause as Error).message}`, { cause });
		}
	}
}
