/**
 * An I/O address space: what devices reach by DMA, whichever way Linux offers to say so.
 *
 * @module
 */
import type { Kernel } from "../kernel.ts";
import type { DmaBuf } from "../machine/machine.ts";
import type { DirtyTracking } from "./dirty-tracking.ts";
import type { Interval } from "./interval-map.ts";
import type { Memlock } from "./memlock.ts";

/**
 * Linux has three ways: the type 1 IOMMU of a VFIO container, an address space of iommufd, and none at all, where devices
 * do DMA to physical addresses.
 */
export type IommuBackend = "type1" | "iommufd" | "noiommu";

/** A stretch of IOVA space in which mappings may lie. */
export interface IovaRange {
	readonly start: bigint;
	/** The last address, not the one after it. */
	readonly end: bigint;
}

/** What an IOMMU can do at this moment; a further device can take some of it away. */
export interface IommuInfo {
	/** A bit for each page size. */
	readonly pageSizes: bigint;
	/** The smallest page size in bytes: what addresses and sizes of mappings are multiples of. */
	readonly pageSize: bigint;
	/** Where mappings may lie, in order; undefined when the kernel does not say. */
	readonly iovaRanges: readonly IovaRange[] | undefined;
	/** How many mappings can still be made; infinite where the kernel has no limit. */
	readonly dmaAvail: number;
	/** Dirty page tracking, or undefined when there is none. */
	readonly dirtyTracking: { readonly pageSizes: bigint; readonly maxBitmapSize: bigint } | undefined;
}

/** What a device may do with mapped memory; both when left out. */
export interface DmaAccess {
	readonly read?: boolean;
	readonly write?: boolean;
}

/** Memory that devices reach at an IOVA. Disposing it unmaps it, unless it was unmapped otherwise. */
export interface DmaMapping extends Disposable, Interval {
	/** The IOVA of its first byte. */
	readonly start: bigint;
	/** Bytes. */
	readonly size: bigint;
	/** Address in this process; undefined for a dma-buf, which has none. */
	readonly vaddr: bigint | undefined;
}

/**
 * The DMA mappings that some devices share. {@link Type1} and {@link Ioas} are the two kinds; what maps guest memory, or a
 * program's buffers, need not know which.
 *
 * @example
 * ```ts
 * const memory = kernel.allocate(0x10000);
 * const mapping = device.iommu.map(0x100000n, memory.address, 0x10000n);
 * mapping[Symbol.dispose]();
 * ```
 */
export interface Iommu extends Disposable {
	readonly kernel: Kernel;
	readonly backend: IommuBackend;
	/** Which pages devices wrote. */
	readonly dirty: DirtyTracking;
	/** What is mapped, in address order. */
	readonly mappings: Iterable<DmaMapping>;
	/** How many mappings there are. */
	readonly mappingCount: number;
	/** What the IOMMU can do at this moment. @throws VfioError `kernel`, `disposed` */
	info(): IommuInfo;
	/** How much memory may be locked by mapping it; undefined when that is not known, or nothing is locked. */
	lockable(): Memlock | undefined;
	/**
	 * Maps memory. A mapping that covers earlier ones replaces them.
	 *
	 * @param iova where devices reach it, page aligned
	 * @param vaddr address in this process, page aligned
	 * @param size bytes, whole pages
	 * @throws VfioError `overlapping-memory` when it covers a part of another, `iova-out-of-range`, `memlock-too-low`,
	 *   `dma-entries-exhausted`, `mapping-failed`, `unsupported-iommu`, `disposed`
	 */
	map(iova: bigint, vaddr: bigint, size: bigint, access?: DmaAccess): DmaMapping;
	/**
	 * Maps the whole of a dma-buf; only iommufd has that, and it is the only way for it to map a device's memory. The file
	 * may be closed afterwards. When its exporter revokes it, nothing is behind the mapping any more, nor will there be.
	 *
	 * @param iova where devices reach it, page aligned
	 * @throws VfioError `no-dma-buf` when the kernel cannot do it, and as {@link map}
	 */
	mapDmaBuf?(iova: bigint, buffer: DmaBuf, access?: DmaAccess): DmaMapping;
	/**
	 * Unmaps everything in a stretch, holes included.
	 *
	 * @param size bytes; the whole space is 2^64
	 * @returns the bytes that were mapped
	 * @throws VfioError `invalid-argument` when it would cut a mapping, `kernel`, `disposed`
	 */
	unmap(iova: bigint, size: bigint): bigint;
	/** Unmaps everything. @returns the bytes that were mapped @throws VfioError `kernel`, `disposed` */
	unmapAll(): bigint;
	/** Has something released before the mappings go, such as whoever keeps them up to date. @returns the resource */
	use<T extends Disposable>(resource: T): T;
}
