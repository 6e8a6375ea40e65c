/**
 * VFIO_DEVICE_GET_REGION_INFO of a mediated PCI device, with the areas of a BAR that can be mapped.
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../../core/uapi/errno.ts";
import {
	VFIO_PCI_ROM_REGION_INDEX,
	VFIO_REGION_INFO_CAP_SPARSE_MMAP,
	VFIO_REGION_INFO_FLAG_CAPS,
	VFIO_REGION_INFO_FLAG_MMAP,
	VFIO_REGION_INFO_FLAG_READ,
	VFIO_REGION_INFO_FLAG_WRITE,
	vfio_region_info,
	vfio_region_info_cap_sparse_mmap,
	vfio_region_sparse_mmap_area,
} from "../../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../../file.ts";
import { REGION_STRIDE } from "../../vfio/region-offset.ts";

/** A stretch of a BAR that processes can map. */
export interface MappableArea {
	/** Bytes from the BAR's start, a multiple of 4096. */
	readonly offset: number;
	/** Bytes, a multiple of 4096. */
	readonly size: number;
}

/**
 * Fills in the caller's structure as far as it has room.
 *
 * @param size of a region, or -errno
 * @param areas what can be mapped of it: undefined for nothing, no areas for all of it
 * @returns 0 or -errno
 */
export function answerRegionInfo(
	argument: IoctlArgument,
	size: (index: number) => number,
	areas: (index: number) => readonly MappableArea[] | undefined,
): number {
	const header = argument.read(vfio_region_info.size);
	if (!header) return -EFAULT;
	const info = vfio_region_info.view(header.slice());
	if (info.argsz < vfio_region_info.size) return -EINVAL;
	const bytes = size(info.index);
	if (bytes < 0) return bytes;
	info.size = BigInt(bytes);
	info.offset = BigInt(info.index) * BigInt(REGION_STRIDE);
	info.flags = bytes === 0 ? 0 : VFIO_REGION_INFO_FLAG_READ;
	if (bytes > 0 && info.index !== VFIO_PCI_ROM_REGION_INDEX) info.flags |= VFIO_REGION_INFO_FLAG_WRITE;
	const mappable = areas(info.index);
	if (mappable) info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
	if (mappable && mappable.length > 0) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		const capability = sparse(mappable);
		const needed = vfio_region_info.size + capability.length;
		if (info.argsz < needed) {
			info.argsz = needed;
			info.cap_offset = 0;
		} else {
			info.cap_offset = vfio_region_info.size;
			if (!argument.write(capability, vfio_region_info.size)) return -EFAULT;
		}
	}
	return argument.write(info.bytes) ? 0 : -EFAULT;
}

function sparse(areas: readonly MappableArea[]): Uint8Array {
	const { size } = vfio_region_info_cap_sparse_mmap;
	const capability = vfio_region_info_cap_sparse_mmap.create(areas.length * vfio_region_sparse_mmap_area.size);
	Object.assign(capability, { id: VFIO_REGION_INFO_CAP_SPARSE_MMAP, version: 1, nr_areas: areas.length });
	for (const [index, area] of areas.entries()) {
		const view = vfio_region_sparse_mmap_area.view(capability.bytes, size + index * vfio_region_sparse_mmap_area.size);
		Object.assign(view, { offset: BigInt(area.offset), size: BigInt(area.size) });
	}
	return capability.bytes;
}
