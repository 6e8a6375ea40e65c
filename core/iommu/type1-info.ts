/**
 * What a type 1 IOMMU can do (`VFIO_IOMMU_GET_INFO`).
 *
 * @module
 */

import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { retry } from "../retry.ts";
import { askWithRoom, infoCapabilities } from "../uapi/info-chain.ts";
import {
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_INFO_CAPS,
	VFIO_IOMMU_INFO_PGSIZES,
	VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
	VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
	VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
	vfio_iommu_type1_info,
	vfio_iommu_type1_info_cap_iova_range,
	vfio_iommu_type1_info_cap_migration,
	vfio_iommu_type1_info_dma_avail,
	vfio_iova_range,
} from "../uapi/vfio.ts";
import type { IommuInfo, IovaRange } from "./iommu.ts";

/** What kernels before the capability had, and what the module parameter `dma_entry_limit` is when nobody sets it. */
const DEFAULT_DMA_ENTRIES = 65535;
const DEFAULT_PAGE_SIZES = 4096n;

/** @param fd a container that has an IOMMU @throws VfioError `kernel` */
export function type1Info(kernel: Kernel, fd: number): IommuInfo {
	let bytes: Uint8Array;
	try {
		bytes = askWithRoom(
			vfio_iommu_type1_info.size,
			() => {},
			(request) => retry(() => kernel.ioctl(fd, VFIO_IOMMU_GET_INFO, request)),
		);
	} catch (cause) {
		throw new VfioError("kernel", `Cannot query the IOMMU of the container: ${(cause as Error).message}`, { cause });
	}
	const info = vfio_iommu_type1_info.view(bytes);
	const chain = infoCapabilities(bytes, info.flags & VFIO_IOMMU_INFO_CAPS ? info.cap_offset : 0);
	const offsetOf = (id: number, size: number) =>
		chain.find((capability) => capability.id === id && capability.offset + size <= bytes.length)?.offset;
	const ranges = offsetOf(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, vfio_iommu_type1_info_cap_iova_range.size);
	const available = offsetOf(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, vfio_iommu_type1_info_dma_avail.size);
	const migration = offsetOf(VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, vfio_iommu_type1_info_cap_migration.size);
	const known = (info.flags & VFIO_IOMMU_INFO_PGSIZES) !== 0 && info.iova_pgsizes !== 0n;
	const pageSizes = known ? info.iova_pgsizes : DEFAULT_PAGE_SIZES;
	return {
		pageSizes,
		pageSize: pageSizes & -pageSizes,
		iovaRanges: ranges === undefined ? undefined : iovaRanges(bytes, ranges),
		dmaAvail:
			available === undefined ? DEFAULT_DMA_ENTRIES : vfio_iommu_type1_info_dma_avail.view(bytes, available).avail,
		dirtyTracking: migration === undefined ? undefined : dirtyTracking(bytes, migration),
	};
}

function iovaRanges(bytes: Uint8Array, offset: number): IovaRange[] {
	const count = vfio_iommu_type1_info_cap_iova_range.view(bytes, offset).nr_iovas;
	const ranges: IovaRange[] = [];
	let at = offset + vfio_iommu_type1_info_cap_iova_range.size;
	for (let n = 0; n < count && at + vfio_iova_range.size <= bytes.length; n++, at += vfio_iova_range.size) {
		const { start, end } = vfio_iova_range.view(bytes, at);
		ranges.push({ start, end });
	}
	return ranges.sort((a, b) => (a.start < b.start ? -1 : 1));
}

function dirtyTracking(bytes: Uint8Array, offset: number): { pageSizes: bigint; maxBitmapSize: bigint } {
	const capability = vfio_iommu_type1_info_cap_migration.view(bytes, offset);
	return { pageSizes: capability.pgsize_bitmap, maxBitmapSize: capability.max_dirty_bitmap_size };
}
