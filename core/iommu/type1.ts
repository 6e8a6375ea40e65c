/**
 * A container's type 1 IOMMU: DMA mappings, and what they were.
 *
 * @module
 */

import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EBUSY, EEXIST, EFAULT, EINVAL, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import {
	VFIO_DMA_MAP_FLAG_READ,
	VFIO_DMA_MAP_FLAG_WRITE,
	VFIO_DMA_UNMAP_FLAG_ALL,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_iommu_type1_dma_map,
	vfio_iommu_type1_dma_unmap,
} from "../uapi/vfio.ts";
import { DirtyTracking } from "./dirty-tracking.ts";
import { cuts, type Interval, IntervalMap } from "./interval-map.ts";
import { memlock, memlockTooLow } from "./memlock.ts";
import { describeStretch, entriesExhausted, inOneRange, outOfRange } from "./planner.ts";
import { type Type1Info, type1Info } from "./type1-info.ts";

/** How the container was set up. */
export interface Type1Options {
	/** Type 1 has two versions; the second refuses to cut mappings, and tracks dirty pages. */
	readonly version: 1 | 2;
	/** The kernel has `VFIO_UNMAP_ALL`. */
	readonly unmapAll: boolean;
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
	/** Address in this process. */
	readonly vaddr: bigint;
}

const SPACE = 1n << 64n;
const HALF = 1n << 63n;

/**
 * The DMA mappings of a container, for all devices in it. It keeps its own map of them, keyed by IOVA, and unmaps what it
 * mapped, whatever changed in between.
 *
 * @example
 * ```ts
 * const memory = kernel.allocate(0x10000);
 * const mapping = container.iommu.map(0x100000n, memory.address, 0x10000n);
 * mapping[Symbol.dispose]();
 * ```
 */
export class Type1 implements Disposable {
	/** 2, unless the kernel has only the first. */
	readonly version: 1 | 2;
	/** Which pages devices wrote. */
	readonly dirty: DirtyTracking;
	readonly kernel: Kernel;
	readonly #fd: number;
	readonly #unmapAll: boolean;
	readonly #mapped = new IntervalMap<Mapped>();
	readonly #map = vfio_iommu_type1_dma_map.create();
	readonly #unmap = vfio_iommu_type1_dma_unmap.create();
	readonly #users = new Releases();
	#open = true;

	/** @param fd a container that has a type 1 IOMMU; {@link Container.iommu} makes it */
	constructor(kernel: Kernel, fd: number, options: Type1Options) {
		this.version = options.version;
		this.kernel = kernel;
		this.#fd = fd;
		this.#unmapAll = options.unmapAll;
		this.dirty = new DirtyTracking(kernel, fd, this);
	}

	/** What the IOMMU can do at this moment. @throws VfioError `kernel`, `disposed` */
	info(): Type1Info {
		this.#requireOpen("query");
		return type1Info(this.kernel, this.#fd);
	}

	/** What is mapped, in address order. */
	get mappings(): Iterable<DmaMapping> {
		return this.#mapped;
	}

	/** How many mappings there are. */
	get mappingCount(): number {
		return this.#mapped.size;
	}

	/**
	 * `VFIO_IOMMU_MAP_DMA`. A mapping that covers earlier ones replaces them.
	 *
	 * @param iova where devices reach it, page aligned
	 * @param vaddr address in this process, page aligned
	 * @param size bytes, whole pages
	 * @throws VfioError `overlapping-memory` when it covers a part of another, `iova-out-of-range`, `memlock-too-low`,
	 *   `dma-entries-exhausted`, `mapping-failed`, `disposed`
	 */
	map(iova: bigint, vaddr: bigint, size: bigint, access: DmaAccess = {}): DmaMapping {
		this.#requireOpen("map memory in");
		if (iova < 0n || size <= 0n || iova + size > SPACE)
			throw new VfioError(
				"mapping-failed",
				`Cannot map ${size} bytes at 0x${iova.toString(16)} for DMA: that is not within 2^64`,
			);
		this.#removeCovered(iova, size);
		try {
			try {
				this.#request(iova, vaddr, size, access);
			} catch (error) {
				// A mapping that is not ours, made through the same file: what covers it wins, once.
				if (!isErrno(error, EBUSY, EEXIST)) throw error;
				this.#unmapRange(iova, size, 0);
				this.#request(iova, vaddr, size, access);
			}
		} catch (cause) {
			throw this.#explain(iova, vaddr, size, cause);
		}
		const mapping = new Mapped(iova, vaddr, size, (entry) => this.#unmapEntry(entry));
		this.#mapped.add(mapping);
		return mapping;
	}

	/**
	 * `VFIO_IOMMU_UNMAP_DMA` of everything in a stretch, holes included.
	 *
	 * @param size bytes; the whole space is 2^64
	 * @returns the bytes that were mapped
	 * @throws VfioError `invalid-argument` when it would cut a mapping, `kernel`, `disposed`
	 */
	unmap(iova: bigint, size: bigint): bigint {
		this.#requireOpen("unmap memory in");
		const entries = this.#whole(iova, size, "invalid-argument", "unmap");
		if (entries.length === 0) return 0n;
		if (size >= SPACE) return this.unmapAll();
		return this.#unmapEntries(entries, () => this.#unmapRange(iova, size, 0));
	}

	/** Unmaps everything. @returns the bytes that were mapped @throws VfioError `kernel`, `disposed` */
	unmapAll(): bigint {
		this.#requireOpen("unmap memory in");
		const entries = [...this.#mapped];
		if (entries.length === 0) return 0n;
		if (this.#unmapAll) return this.#unmapEntries(entries, () => this.#unmapRange(0n, 0n, VFIO_DMA_UNMAP_FLAG_ALL));
		// 2^64 bytes do not fit into the request's size. The halves meet where no mapping is cut.
		const across = entries.find((entry) => cuts(entry, 0n, HALF));
		const middle = across ? across.start + across.size : HALF;
		const lower = entries.filter((entry) => entry.start < middle);
		const upper = entries.filter((entry) => entry.start >= middle);
		let bytes = 0n;
		if (lower.length > 0) bytes += this.#unmapEntries(lower, () => this.#unmapRange(0n, middle, 0));
		if (upper.length > 0) bytes += this.#unmapEntries(upper, () => this.#unmapRange(middle, SPACE - middle, 0));
		return bytes;
	}

	/** Has something released before the mappings go, such as whoever keeps them up to date. @returns the resource */
	use<T extends Disposable>(resource: T): T {
		return this.#users.use(resource);
	}

	/** What was unmapped by other means, such as together with its dirty bitmap. */
	forget(iova: bigint, size: bigint): void {
		for (const entry of this.#mapped.overlapping(iova, size)) this.#mapped.delete(entry);
	}

	/** The kernel has forgotten all mappings: there is nothing left to unmap. */
	lost(): void {
		this.#mapped.clear();
	}

	/** Releases its users, unmaps everything, and ends. The container calls it before its last group leaves. */
	[Symbol.dispose](): void {
		if (!this.#open) return;
		const releases = new Releases();
		releases.defer(() => {
			this.#open = false;
		});
		releases.use(this.dirty);
		releases.defer(() => this.unmapAll());
		releases.use(this.#users);
		releases[Symbol.dispose]();
	}

	#request(iova: bigint, vaddr: bigint, size: bigint, access: DmaAccess): void {
		const request = this.#map;
		request.argsz = vfio_iommu_type1_dma_map.size;
		request.flags =
			(access.read === false ? 0 : VFIO_DMA_MAP_FLAG_READ) | (access.write === false ? 0 : VFIO_DMA_MAP_FLAG_WRITE);
		request.iova = iova;
		request.vaddr = vaddr;
		request.size = size;
		retry(() => this.kernel.ioctl(this.#fd, VFIO_IOMMU_MAP_DMA, request.bytes));
	}

	#removeCovered(iova: bigint, size: bigint): void {
		const covered = this.#whole(iova, size, "overlapping-memory", "map");
		if (covered.length > 0) this.#unmapEntries(covered, () => this.#unmapRange(iova, size, 0));
	}

	/** The mappings in a stretch that cuts none. */
	#whole(iova: bigint, size: bigint, code: "invalid-argument" | "overlapping-memory", action: string): Mapped[] {
		const entries = this.#mapped.overlapping(iova, size);
		const cut = entries.find((entry) => cuts(entry, iova, size));
		if (!cut) return entries;
		const reason = `it would cut the mapping ${describeStretch(cut.start, cut.size)}`;
		throw new VfioError(code, `Cannot ${action} ${describeStretch(iova, size)}: ${reason}`);
	}

	#unmapEntry(entry: Mapped): void {
		if (this.#open && this.#mapped.has(entry))
			this.#unmapEntries([entry], () => this.#unmapRange(entry.start, entry.size, 0));
	}

	#unmapEntries(entries: readonly Mapped[], call: () => bigint): bigint {
		try {
			const bytes = call();
			for (const entry of entries) this.#mapped.delete(entry);
			return bytes;
		} catch (cause) {
			const first = entries[0] as Mapped;
			const what = entries.length === 1 ? describeStretch(first.start, first.size) : `${entries.length} mappings`;
			throw new VfioError("kernel", `Cannot unmap ${what}: ${(cause as Error).message}`, { cause });
		}
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

	#requireOpen(action: string): void {
		if (!this.#open) throw new VfioError("disposed", `Cannot ${action} the container: its IOMMU is gone`);
	}

	#explain(iova: bigint, vaddr: bigint, size: bigint, cause: unknown): unknown {
		const failed = (reason: string) =>
			new VfioError("mapping-failed", `Cannot map ${describeStretch(iova, size)} for DMA: ${reason}`, { cause });
		if (isErrno(cause, ENOMEM)) return memlockTooLow(size, memlock(this.kernel), { cause });
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

class Mapped implements DmaMapping {
	readonly start: bigint;
	readonly size: bigint;
	readonly vaddr: bigint;
	readonly #unmap: (entry: Mapped) => void;

	constructor(iova: bigint, vaddr: bigint, size: bigint, unmap: (entry: Mapped) => void) {
		this.start = iova;
		this.vaddr = vaddr;
		this.size = size;
		this.#unmap = unmap;
	}

	[Symbol.dispose](): void {
		this.#unmap(this);
	}
}
