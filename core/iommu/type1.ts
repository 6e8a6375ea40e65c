/**
 * A container's type 1 IOMMU: `VFIO_IOMMU_MAP_DMA` and its kin.
 *
 * @module
 */

import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { EFAULT, EINVAL, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import {
	VFIO_DMA_MAP_FLAG_READ,
	VFIO_DMA_MAP_FLAG_WRITE,
	VFIO_DMA_UNMAP_FLAG_ALL,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_iommu_type1_dma_map,
	vfio_iommu_type1_dma_unmap,
} from "../uapi/vfio.ts";
import { DmaSpace, SPACE } from "./dma-space.ts";
import { cuts } from "./interval-map.ts";
import type { DmaAccess, DmaMapping, IommuInfo } from "./iommu.ts";
import { type Memlock, mayLock, memlock, memlockTooLow } from "./memlock.ts";
import { describeStretch, entriesExhausted, inOneRange, outOfRange } from "./planner.ts";
import { Type1DirtyTracking } from "./type1-dirty-tracking.ts";
import { type1Info } from "./type1-info.ts";

/** How the container was set up. */
export interface Type1Options {
	/** Type 1 has two versions; the second refuses to cut mappings, and tracks dirty pages. */
	readonly version: 1 | 2;
	/** The kernel has `VFIO_UNMAP_ALL`. */
	readonly unmapAll: boolean;
}

const HALF = 1n << 63n;

/**
 * The DMA mappings of a container, for all devices in it.
 *
 * @example
 * ```ts
 * const memory = kernel.allocate(0x10000);
 * const mapping = container.iommu.map(0x100000n, memory.address, 0x10000n);
 * mapping[Symbol.dispose]();
 * ```
 */
export class Type1 extends DmaSpace {
	readonly backend = "type1";
	/** 2, unless the kernel has only the first. */
	readonly version: 1 | 2;
	readonly dirty: Type1DirtyTracking;
	protected readonly what = "the container";
	readonly #fd: number;
	readonly #unmapAll: boolean;
	readonly #map = vfio_iommu_type1_dma_map.create();
	readonly #unmap = vfio_iommu_type1_dma_unmap.create();

	/** @param fd a container that has a type 1 IOMMU; {@link Container.iommu} makes it */
	constructor(kernel: Kernel, fd: number, options: Type1Options) {
		super(kernel);
		this.version = options.version;
		this.#fd = fd;
		this.#unmapAll = options.unmapAll;
		this.dirty = new Type1DirtyTracking(kernel, fd, this);
	}

	/** See {@link Iommu.info}. */
	info(): IommuInfo {
		this.requireOpen("query");
		return type1Info(this.kernel, this.#fd);
	}

	/** Type 1 counts what the process has locked. */
	lockable(): Memlock | undefined {
		return memlock(this.kernel);
	}

	protected requestMap(iova: bigint, vaddr: bigint, size: bigint, access: DmaAccess): void {
		const request = this.#map;
		request.argsz = vfio_iommu_type1_dma_map.size;
		request.flags =
			(access.read === false ? 0 : VFIO_DMA_MAP_FLAG_READ) | (access.write === false ? 0 : VFIO_DMA_MAP_FLAG_WRITE);
		request.iova = iova;
		request.vaddr = vaddr;
		request.size = size;
		retry(() => this.kernel.ioctl(this.#fd, VFIO_IOMMU_MAP_DMA, request.bytes));
	}

	protected requestUnmap(iova: bigint, size: bigint): bigint {
		return this.#unmapRange(iova, size, 0);
	}

	protected removeAll(entries: readonly DmaMapping[]): bigint {
		if (this.#unmapAll) return this.unmapEntries(entries, () => this.#unmapRange(0n, 0n, VFIO_DMA_UNMAP_FLAG_ALL));
		// 2^64 bytes do not fit into the request's size. The halves meet where no mapping is cut.
		const across = entries.find((entry) => cuts(entry, 0n, HALF));
		const middle = across ? across.start + across.size : HALF;
		const lower = entries.filter((entry) => entry.start < middle);
		const upper = entries.filter((entry) => entry.start >= middle);
		let bytes = 0n;
		if (lower.length > 0) bytes += this.unmapEntries(lower, () => this.#unmapRange(0n, middle, 0));
		if (upper.length > 0) bytes += this.unmapEntries(upper, () => this.#unmapRange(middle, SPACE - middle, 0));
		return bytes;
	}

	#unmapRange(iova: bigint, size: bigint, flags: number): bigint {
		const request = this.#unmap;
		request.argsz = vfio_iommu_type1_dma_unmap.size;
		request.flags = flags;
		request.iova = iova;
		request.size = size;
		try {
			retry(() => this.kernel.ioctl(this.#fd, VFIO_IOMMU_UNMAP_DMA, request.bytes));
		} catch (error) {
			// Some kernels take the end, 2^64, for a wrap to 0. No IOMMU has that last page.
			if (!isErrno(error, EINVAL) || iova + size !== SPACE) throw error;
			request.size = size - this.info().pageSize;
			retry(() => this.kernel.ioctl(this.#fd, VFIO_IOMMU_UNMAP_DMA, request.bytes));
		}
		return request.size;
	}

	protected explainMap(iova: bigint, vaddr: bigint, size: bigint, cause: unknown): unknown {
		const failed = (reason: string) =>
			new VfioError("mapping-failed", `Cannot map ${describeStretch(iova, size)} for DMA: ${reason}`, { cause });
		if (isErrno(cause, ENOMEM)) {
			const state = this.lockable();
			if (!state || !mayLock(state, SPACE)) return memlockTooLow(size, state, { cause });
			return failed(`the kernel has no memory for it; the process may lock as much as it likes (${cause.message})`);
		}
		if (isErrno(cause, ENOSPC)) return entriesExhausted(1, 0, cause);
		if (isErrno(cause, EFAULT))
			return failed(`the memory at 0x${vaddr.toString(16)} does not exist, or is not as writable as asked for`);
		if (isErrno(cause, EINVAL)) {
			const { iovaRanges, pageSize } = this.info();
			if ((iova | vaddr | size) % pageSize !== 0n)
				return failed(`it is not a whole number of pages of ${pageSize} bytes`);
			if (iovaRanges && !inOneRange(iova, size, iovaRanges)) return outOfRange(iova, size, iovaRanges, cause);
		}
		return failed((cause as Error).message);
	}
}
