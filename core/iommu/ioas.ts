/**
 * An address space of iommufd (`IOMMU_IOAS_ALLOC`), and the devices that are attached to it.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { DmaBuf } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import { isErrno, retry } from "../retry.ts";
import { EFAULT, EINVAL, EMSGSIZE, ENOENT, ENOMEM, EOVERFLOW } from "../uapi/errno.ts";
import {
	IOMMU_IOAS_ALLOC,
	IOMMU_IOAS_IOVA_RANGES,
	IOMMU_IOAS_MAP,
	IOMMU_IOAS_MAP_FIXED_IOVA,
	IOMMU_IOAS_MAP_READABLE,
	IOMMU_IOAS_MAP_WRITEABLE,
	IOMMU_IOAS_UNMAP,
	iommu_ioas_alloc,
	iommu_ioas_iova_ranges,
	iommu_ioas_map,
	iommu_ioas_unmap,
	iommu_iova_range,
} from "../uapi/iommufd.ts";
import {
	VFIO_DEVICE_ATTACH_IOMMUFD_PT,
	VFIO_DEVICE_DETACH_IOMMUFD_PT,
	vfio_device_attach_iommufd_pt,
	vfio_device_detach_iommufd_pt,
} from "../uapi/vfio.ts";
import { explainAttach } from "./attach-errors.ts";
import type { BoundDevice } from "./bound-device.ts";
import { DmaSpace } from "./dma-space.ts";
import { allocateHwpt, type Hwpt, HwptDirtyTracking } from "./hwpt.ts";
import { explainMapDmaBuf, requestMapDmaBuf } from "./ioas-dma-buf.ts";
import type { DmaAccess, DmaMapping, IommuInfo, IovaRange } from "./iommu.ts";
import type { Iommufd } from "./iommufd.ts";
import { type Memlock, memlock, memlockTooLow } from "./memlock.ts";
import { describeStretch, inOneRange, outOfRange } from "./planner.ts";

/** A device's place in an address space. */
export interface IoasAttachment {
	/** Its DMA ends. @throws VfioError `kernel` */
	detach(): void;
	/** It is closed, and holds the address space no longer. @throws VfioError `kernel` */
	[Symbol.dispose](): void;
}

/** The smallest page of every processor that Linux has iommufd on; an address space without devices says 1. */
const SMALLEST_PAGE = 4096n;
/** Mappings and ranges end below 2^64, and this says "all of it" to UNMAP. */
const ALL = 0xffff_ffff_ffff_ffffn;

/**
 * The DMA mappings of an address space of iommufd, for all devices in it. It is counted: whoever allocated it has one
 * reference, and so has every device in it. What is mapped before a device is attached is pinned by the first of them, so
 * that attaching can fail for it.
 *
 * @example
 * ```ts
 * const ioas = Ioas.allocate(iommufd);
 * const device = VfioDevice.open(kernel, "05:00.0", { ioas });
 * ioas[Symbol.dispose](); // the device keeps it
 * ```
 */
export class Ioas extends DmaSpace {
	readonly backend = "iommufd";
	readonly iommufd: Iommufd;
	/** Its number in the iommufd. */
	readonly id: number;
	readonly dirty: HwptDirtyTracking;
	protected readonly what = "the address space";
	readonly #devices = new Map<BoundDevice, Hwpt | undefined>();
	readonly #hwpts = new Set<Hwpt>();
	readonly #iommufdKept: Disposable;
	readonly #map = iommu_ioas_map.create();
	readonly #unmap = iommu_ioas_unmap.create();
	#held = true;

	private constructor(iommufd: Iommufd, id: number) {
		super(iommufd.kernel);
		this.iommufd = iommufd;
		this.id = id;
		this.#iommufdKept = iommufd.retain();
		this.dirty = new HwptDirtyTracking(this, this.#hwpts, () => [...this.#devices.values()]);
	}

	/** Makes an empty address space. @throws VfioError `kernel` */
	static allocate(iommufd: Iommufd): Ioas {
		const request = iommu_ioas_alloc.create();
		request.size = iommu_ioas_alloc.size;
		iommufd.call(IOMMU_IOAS_ALLOC, request.bytes, "allocate an address space");
		return new Ioas(iommufd, request.out_ioas_id);
	}

	/** The devices in it. */
	get devices(): Iterable<BoundDevice> {
		return this.#devices.keys();
	}

	/** How many devices are in it. */
	get deviceCount(): number {
		return this.#devices.size;
	}

	/**
	 * Puts a device into the address space. One whose IOMMU records what was written gets a page table that does
	 * (`IOMMU_HWPT_ALLOC`), and shares it with the others that can; of the rest the kernel takes care.
	 *
	 * @throws VfioError `iova-out-of-range`, `memlock-too-low`, `mapping-failed`, `device-in-use`, `kernel`
	 */
	attach(device: BoundDevice): IoasAttachment {
		this.requireOpen("attach a device to");
		const hwpt = this.#attach(device);
		this.#devices.set(device, hwpt);
		let state: "attached" | "detached" | "left" = "attached";
		const detach = () => {
			if (state !== "attached") return;
			state = "detached";
			const request = vfio_device_detach_iommufd_pt.create();
			request.argsz = 8;
			try {
				retry(() => this.kernel.ioctl(device.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, request.bytes));
			} catch (cause) {
				throw new VfioError("kernel", `Cannot end the DMA of ${device.name}: ${(cause as Error).message}`, { cause });
			}
		};
		return {
			detach,
			[Symbol.dispose]: () => {
				if (state === "left") return;
				state = "left";
				this.#left(device);
			},
		};
	}

	/** See {@link Iommu.info}. */
	info(): IommuInfo {
		this.requireOpen("query");
		const { ranges, alignment } = this.#ranges();
		const pageSize = alignment > SMALLEST_PAGE ? alignment : SMALLEST_PAGE;
		return {
			pageSizes: pageSize,
			pageSize,
			iovaRanges: ranges,
			dmaAvail: Number.POSITIVE_INFINITY,
			dirtyTracking: this.dirty.supported ? { pageSizes: pageSize, maxBitmapSize: HwptDirtyTracking.LIMIT } : undefined,
		};
	}

	/** iommufd counts what a user has pinned, in all processes together. */
	lockable(): Memlock | undefined {
		return memlock(this.kernel, "user");
	}

	/** See {@link Iommu.mapDmaBuf}. */
	mapDmaBuf(iova: bigint, buffer: DmaBuf, access: DmaAccess = {}): DmaMapping {
		const request = () => requestMapDmaBuf(this, iova, buffer, mapFlags(access));
		const explain = (cause: unknown) => explainMapDmaBuf(this, iova, buffer, cause);
		return this.place(iova, BigInt(buffer.length), undefined, request, explain);
	}

	/** Gives back the reference of whoever allocated it. */
	override [Symbol.dispose](): void {
		this.#held = false;
		this.#endIfUnused();
	}

	protected requestMap(iova: bigint, vaddr: bigint, size: bigint, access: DmaAccess): void {
		const request = this.#map;
		request.size = iommu_ioas_map.size;
		request.flags = mapFlags(access);
		request.ioas_id = this.id;
		request.user_va = vaddr;
		request.length = size;
		request.iova = iova;
		retry(() => this.kernel.ioctl(this.iommufd.fd, IOMMU_IOAS_MAP, request.bytes));
	}

	protected requestUnmap(iova: bigint, size: bigint): bigint {
		const request = this.#unmap;
		request.size = iommu_ioas_unmap.size;
		request.ioas_id = this.id;
		request.iova = iova;
		request.length = size;
		try {
			retry(() => this.kernel.ioctl(this.iommufd.fd, IOMMU_IOAS_UNMAP, request.bytes));
		} catch (error) {
			// Nothing is there: whoever shares the iommufd unmapped it.
			if (isErrno(error, ENOENT)) return 0n;
			throw error;
		}
		return request.length;
	}

	protected removeAll(entries: readonly DmaMapping[]): bigint {
		return this.unmapEntries(entries, () => this.requestUnmap(0n, ALL));
	}

	protected explainMap(iova: bigint, vaddr: bigint, size: bigint, cause: unknown): unknown {
		const failed = (reason: string) =>
			new VfioError("mapping-failed", `Cannot map ${describeStretch(iova, size)} for DMA: ${reason}`, { cause });
		if (isErrno(cause, ENOMEM)) return memlockTooLow(size, this.lockable(), { cause });
		if (isErrno(cause, EFAULT))
			return failed(
				`the memory at 0x${vaddr.toString(16)} does not exist, is not as writable as asked for, or is a device's, which iommufd maps as a dma-buf only`,
			);
		if (isErrno(cause, EINVAL, EOVERFLOW)) {
			const { iovaRanges, pageSize } = this.info();
			if ((iova | vaddr | size) % pageSize !== 0n)
				return failed(`it is not a whole number of pages of ${pageSize} bytes`);
			if (iovaRanges && !inOneRange(iova, size, iovaRanges)) return outOfRange(iova, size, iovaRanges, cause);
		}
		return failed((cause as Error).message);
	}

	#attach(device: BoundDevice): Hwpt | undefined {
		if (!this.iommufd.hardware(device.devid)?.dirtyTracking) {
			this.#attachTo(device, this.id);
			return undefined;
		}
		for (const hwpt of this.#hwpts) {
			try {
				this.#attachTo(device, hwpt.id);
				return hwpt;
			} catch (error) {
				// EINVAL: its IOMMU is of another kind, and needs a page table of its own.
				if (!(error instanceof VfioError) || !isErrno(error.cause, EINVAL)) throw error;
			}
		}
		const hwpt = allocateHwpt(this, device);
		if (!hwpt) {
			this.#attachTo(device, this.id);
			return undefined;
		}
		const releases = new Releases();
		try {
			releases.defer(() => this.iommufd.destroy(hwpt.id, "a page table"));
			this.#attachTo(device, hwpt.id);
			this.#hwpts.add(hwpt);
			releases.defer(() => this.#hwpts.delete(hwpt));
			this.dirty.joined(hwpt);
			releases.move();
			return hwpt;
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** @param target an address space, or a page table of one */
	#attachTo(device: BoundDevice, target: number): void {
		const request = vfio_device_attach_iommufd_pt.create();
		// Without the fields for PASIDs, which older kernels do not know.
		request.argsz = 12;
		request.pt_id = target;
		try {
			retry(() => this.kernel.ioctl(device.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, request.bytes));
		} catch (cause) {
			throw explainAttach(this, device, cause);
		}
	}

	#left(device: BoundDevice): void {
		const hwpt = this.#devices.get(device);
		this.#devices.delete(device);
		const releases = new Releases();
		releases.defer(() => this.#endIfUnused());
		if (hwpt && ![...this.#devices.values()].includes(hwpt)) {
			this.#hwpts.delete(hwpt);
			releases.defer(() => this.iommufd.destroy(hwpt.id, "a page table"));
		}
		releases[Symbol.dispose]();
	}

	#endIfUnused(): void {
		if (this.#held || this.#devices.size > 0) return;
		const releases = new Releases();
		releases.use(this.#iommufdKept);
		releases.defer(() => this.iommufd.destroy(this.id, "an address space"));
		releases.defer(() => super[Symbol.dispose]());
		releases[Symbol.dispose]();
	}

	#ranges(): { ranges: IovaRange[]; alignment: bigint } {
		const scratch = this.iommufd.scratch();
		const request = iommu_ioas_iova_ranges.create();
		request.size = iommu_ioas_iova_ranges.size;
		request.ioas_id = this.id;
		request.num_iovas = scratch.length / iommu_iova_range.size;
		request.allowed_iovas = scratch.address;
		try {
			this.iommufd.call(IOMMU_IOAS_IOVA_RANGES, request.bytes, "query an address space");
		} catch (error) {
			// EMSGSIZE: there are more ranges than fit, and the first of them were written all the same.
			if (!(error instanceof VfioError) || !isErrno(error.cause, EMSGSIZE)) throw error;
		}
		const count = Math.min(request.num_iovas, scratch.length / iommu_iova_range.size);
		const ranges = Array.from({ length: count }, (_, index) => {
			const { start, last } = iommu_iova_range.view(scratch.bytes, index * iommu_iova_range.size);
			return { start, end: last };
		});
		return { ranges, alignment: request.out_iova_alignment };
	}
}

function mapFlags({ read, write }: DmaAccess): number {
	return (
		IOMMU_IOAS_MAP_FIXED_IOVA |
		(read === false ? 0 : IOMMU_IOAS_MAP_READABLE) |
		(write === false ? 0 : IOMMU_IOAS_MAP_WRITEABLE)
	);
}
