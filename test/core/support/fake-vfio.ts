// Device nodes that answer as /dev/vfio does, simply: enough of a container, a group and a device to see what is asked.
import type { AccessWidth, Mapping } from "../../../core/kernel.ts";
import { EBUSY, EEXIST, EINVAL, ENODEV, ENOSPC, ENOTTY } from "../../../core/uapi/errno.ts";
import {
	VFIO_CHECK_EXTENSION,
	VFIO_DEVICE_FLAGS_PCI,
	VFIO_DEVICE_FLAGS_RESET,
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_DMA_UNMAP_FLAG_ALL,
	VFIO_GET_API_VERSION,
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_GROUP_GET_STATUS,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_INFO_CAPS,
	VFIO_IOMMU_INFO_PGSIZES,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	VFIO_SET_IOMMU,
	vfio_device_info,
	vfio_group_status,
	vfio_iommu_type1_dma_map,
	vfio_iommu_type1_dma_unmap,
	vfio_iommu_type1_info,
	vfio_irq_info,
	vfio_region_info,
} from "../../../core/uapi/vfio.ts";
import { type FakeFunction, FakeHost } from "./fake-host.ts";
import type { FakeFile } from "./fake-kernel.ts";

/** Overrides what an ioctl answers, by request number: an errno to fail with, or what to do instead. */
export type Answers = Map<number, number | ((argument: Uint8Array | number) => number)>;

export interface FakeRegion {
	readonly size: number;
	readonly flags?: number;
	/** What follows vfio_region_info, with cap_offset 32. */
	readonly chain?: Uint8Array;
}

export class FakeVfio {
	readonly host: FakeHost;
	readonly kernel;
	readonly answers: Answers = new Map();
	/** Requests in order, as `group 12: 0x3b67`. */
	readonly requests: number[] = [];
	readonly mapped: { iova: bigint; vaddr: bigint; size: bigint; flags: number }[] = [];
	readonly unmaps: { iova: bigint; size: bigint; flags: number }[] = [];
	readonly extensions = new Set([1, 3, 9]);
	/** undefined: EINVAL. */
	regions: (FakeRegion | undefined)[] = [
		{ size: 0x4000, flags: 7 },
		...Array.from({ length: 6 }, () => ({ size: 0 })),
		{ size: 256, flags: 3 },
		undefined,
	];
	irqs: ({ count: number; flags: number } | undefined)[] = [
		{ count: 1, flags: 7 },
		{ count: 8, flags: 9 },
		{ count: 16, flags: 1 },
		undefined,
		{ count: 1, flags: 9 },
	];
	deviceInfo = { flags: VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, regions: 9, irqs: 5 };
	viable = true;
	dmaAvail = 65535;
	iovaRanges: [bigint, bigint][] | undefined = [
		[0n, 0xfedf_ffffn],
		[0xfef0_0000n, 0xffff_ffff_ffffn],
	];
	pageSizes = 0x4020_1000n;
	/** What the device's file holds, by region. */
	readonly bytes = new Map<number, Uint8Array>();
	readonly #openGroups = new Set<number>();
	readonly #containers = new Map<number, { groups: Set<number>; iommu: number }>();

	constructor(functions?: readonly FakeFunction[]) {
		this.host = new FakeHost(functions ?? [{ name: "0000:05:00.0", group: 12, driver: "vfio-pci" }]);
		this.kernel = this.host.kernel;
		this.kernel.nodes.set("/dev/vfio/vfio", () => this.#container());
		for (const group of new Set((functions ?? [{ group: 12 }]).map((fn) => fn.group)))
			if (group !== undefined) this.kernel.nodes.set(`/dev/vfio/${group}`, () => this.#group(group));
	}

	/** Whether everything is closed. */
	get leaks(): string[] {
		return [...this.kernel.openFiles.values()].map(({ path }) => path);
	}

	/** The request's scripted answer, or undefined for the ordinary one. */
	#scripted(request: number, argument: Uint8Array | number): number | undefined {
		this.requests.push(request);
		const answer = this.answers.get(request);
		if (typeof answer === "number") return this.kernel.fail(answer, `0x${request.toString(16)}`, "fake");
		return answer?.(argument);
	}

	#fail(errno: number, what: string): never {
		return this.kernel.fail(errno, what, "fake");
	}

	#container(): FakeFile {
		const state = { groups: new Set<number>(), iommu: 0 };
		const key = this.#containers.size;
		this.#containers.set(key, state);
		return {
			ioctl: (request, argument) => {
				const scripted = this.#scripted(request, argument);
				if (scripted !== undefined) return scripted;
				switch (request) {
					case VFIO_GET_API_VERSION:
						return 0;
					case VFIO_CHECK_EXTENSION:
						return this.extensions.has(argument as number) ? 1 : 0;
					case VFIO_SET_IOMMU:
						if (state.groups.size === 0) this.#fail(EINVAL, "SET_IOMMU");
						state.iommu = argument as number;
						return 0;
					case VFIO_IOMMU_GET_INFO:
						return this.#iommuInfo(argument as Uint8Array);
					case VFIO_IOMMU_MAP_DMA:
						return this.#map(argument as Uint8Array);
					case VFIO_IOMMU_UNMAP_DMA:
						return this.#unmap(argument as Uint8Array);
				}
				return this.#fail(ENOTTY, "container");
			},
			// Tests attach by the number in the log, and the key tells containers apart.
			pread: () => key,
		};
	}

	#iommuInfo(bytes: Uint8Array): number {
		const info = vfio_iommu_type1_info.view(bytes);
		const ranges = this.iovaRanges;
		const needed = 24 + 16 + (ranges ? 16 + ranges.length * 16 : 0);
		info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
		info.iova_pgsizes = this.pageSizes;
		const room = bytes.length >= needed;
		info.argsz = needed;
		info.cap_offset = room ? 24 : 0;
		if (!room) return 0;
		const view = new DataView(bytes.buffer, bytes.byteOffset);
		view.setUint16(24, 3, true);
		view.setUint32(28, ranges ? 40 : 0, true);
		view.setUint32(32, this.dmaAvail - this.mapped.length, true);
		if (!ranges) return 0;
		view.setUint16(40, 1, true);
		view.setUint32(48, ranges.length, true);
		ranges.forEach(([start, end], index) => {
			view.setBigUint64(56 + index * 16, start, true);
			view.setBigUint64(64 + index * 16, end, true);
		});
		return 0;
	}

	#map(bytes: Uint8Array): number {
		const { iova, vaddr, size, flags } = vfio_iommu_type1_dma_map.view(bytes);
		if (this.mapped.some((one) => one.iova < iova + size && iova < one.iova + one.size)) this.#fail(EEXIST, "MAP_DMA");
		if (this.mapped.length >= this.dmaAvail) this.#fail(ENOSPC, "MAP_DMA");
		const ranges = this.iovaRanges;
		if (ranges && !ranges.some(([start, end]) => start <= iova && iova + size - 1n <= end))
			this.#fail(EINVAL, "MAP_DMA");
		this.mapped.push({ iova, vaddr, size, flags });
		this.kernel.log.push(`map ${iova.toString(16)}+${size.toString(16)}`);
		return 0;
	}

	#unmap(bytes: Uint8Array): number {
		const request = vfio_iommu_type1_dma_unmap.view(bytes);
		const { iova, size, flags } = request;
		this.unmaps.push({ iova, size, flags });
		const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
		const touched = this.mapped.filter((one) => all || (one.iova < iova + size && iova < one.iova + one.size));
		if (!all && touched.some((one) => one.iova < iova || one.iova + one.size > iova + size))
			this.#fail(EINVAL, "UNMAP_DMA");
		for (const one of touched) this.mapped.splice(this.mapped.indexOf(one), 1);
		request.size = touched.reduce((sum, one) => sum + one.size, 0n);
		this.kernel.log.push(`unmap ${request.size.toString(16)}`);
		return 0;
	}

	#group(id: number): FakeFile {
		if (this.#openGroups.has(id)) this.kernel.fail(EBUSY, "open", `/dev/vfio/${id}`);
		this.#openGroups.add(id);
		let container: { groups: Set<number>; iommu: number } | undefined;
		const leave = () => {
			container?.groups.delete(id);
			if (container?.groups.size === 0) this.mapped.length = 0;
			container = undefined;
		};
		return {
			ioctl: (request, argument) => {
				const scripted = this.#scripted(request, argument);
				if (scripted !== undefined) return scripted;
				const bytes = argument as Uint8Array;
				switch (request) {
					case VFIO_GROUP_GET_STATUS:
						vfio_group_status.view(bytes).flags = container ? 3 : this.viable ? 1 : 0;
						return 0;
					case VFIO_GROUP_SET_CONTAINER: {
						const fd = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
						container = this.#containers.get(this.kernel.pread(fd, bytes, 0));
						container?.groups.add(id);
						return 0;
					}
					case VFIO_GROUP_UNSET_CONTAINER:
						this.kernel.log.push("unset container");
						leave();
						return 0;
					case VFIO_GROUP_GET_DEVICE_FD: {
						const name = String.fromCharCode(...bytes.subarray(0, bytes.indexOf(0)));
						if (this.host.driverOf.get(name.split(" ")[0] as string) !== "vfio-pci")
							this.#fail(ENODEV, "GET_DEVICE_FD");
						return this.kernel.install(name, this.#device());
					}
				}
				return this.#fail(ENOTTY, "group");
			},
			close: () => {
				leave();
				this.#openGroups.delete(id);
			},
		};
	}

	#device(): FakeFile {
		return {
			ioctl: (request, argument) => {
				const scripted = this.#scripted(request, argument);
				if (scripted !== undefined) return scripted;
				const bytes = argument as Uint8Array;
				switch (request) {
					case VFIO_DEVICE_GET_INFO: {
						const info = vfio_device_info.view(bytes);
						info.flags = this.deviceInfo.flags;
						info.num_regions = this.deviceInfo.regions;
						info.num_irqs = this.deviceInfo.irqs;
						return 0;
					}
					case VFIO_DEVICE_GET_REGION_INFO:
						return this.#regionInfo(bytes);
					case VFIO_DEVICE_GET_IRQ_INFO: {
						const info = vfio_irq_info.view(bytes);
						const irq = this.irqs[info.index];
						if (!irq) this.#fail(EINVAL, "GET_IRQ_INFO");
						info.flags = irq.flags;
						info.count = irq.count;
						return 0;
					}
				}
				return this.#fail(ENOTTY, "device");
			},
			pread: (buffer, offset) => {
				const bytes = this.#regionBytes(offset);
				const at = offset % 2 ** 40;
				buffer.set(bytes.subarray(at, at + buffer.length));
				return Math.min(buffer.length, Math.max(0, bytes.length - at));
			},
			pwrite: (buffer, offset) => {
				this.#regionBytes(offset).set(buffer, offset % 2 ** 40);
				return buffer.length;
			},
			mmap: (length, _protection, _flags, offset) => this.#mapping(this.#regionBytes(offset), offset % 2 ** 40, length),
		};
	}

	#regionBytes(offset: number): Uint8Array {
		const index = Math.floor(offset / 2 ** 40);
		const bytes = this.bytes.get(index) ?? new Uint8Array(this.regions[index]?.size ?? 0);
		this.bytes.set(index, bytes);
		return bytes;
	}

	#regionInfo(bytes: Uint8Array): number {
		const info = vfio_region_info.view(bytes);
		const region = this.regions[info.index];
		if (!region) this.#fail(EINVAL, "GET_REGION_INFO");
		info.flags = region.flags ?? 0;
		info.size = BigInt(region.size);
		info.offset = BigInt(info.index) << 40n;
		if (!region.chain) return 0;
		info.flags |= 8;
		const needed = 32 + region.chain.length;
		if (bytes.length >= needed) {
			bytes.set(region.chain, 32);
			info.cap_offset = 32;
		} else info.cap_offset = 0;
		info.argsz = needed;
		return 0;
	}

	#mapping(bytes: Uint8Array, start: number, length: number): Mapping {
		const view = new DataView(bytes.buffer, start, length);
		this.kernel.log.push(`mmap ${length}`);
		return {
			address: 0x1000n,
			length,
			read: (offset, width: AccessWidth) =>
				width === 4 ? view.getUint32(offset, true) : width === 2 ? view.getUint16(offset, true) : view.getUint8(offset),
			read64: (offset) => view.getBigUint64(offset, true),
			write: (offset, width, value) => {
				if (width === 4) view.setUint32(offset, value, true);
				else if (width === 2) view.setUint16(offset, value, true);
				else view.setUint8(offset, value);
			},
			write64: (offset, value) => view.setBigUint64(offset, value, true),
			[Symbol.dispose]: () => {
				this.kernel.log.push(`munmap ${length}`);
			},
		};
	}
}
