/**
 * What the kernel says about a device's regions.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { EINVAL } from "../uapi/errno.ts";
import { askWithRoom, infoCapabilities } from "../uapi/info-chain.ts";
import {
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_PCI_CONFIG_REGION_INDEX,
	VFIO_PCI_ROM_REGION_INDEX,
	VFIO_PCI_VGA_REGION_INDEX,
	VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
	VFIO_REGION_INFO_CAP_SPARSE_MMAP,
	VFIO_REGION_INFO_CAP_TYPE,
	VFIO_REGION_INFO_FLAG_CAPS,
	VFIO_REGION_INFO_FLAG_MMAP,
	vfio_region_info,
	vfio_region_info_cap_sparse_mmap,
	vfio_region_info_cap_type,
	vfio_region_sparse_mmap_area,
} from "../uapi/vfio.ts";
import type { DeviceKind, NamedDevice } from "./kind.ts";

/** A region of a VFIO device. A region that does not exist has size 0. */
export interface Region {
	readonly index: number;
	/** `VFIO_REGION_INFO_FLAG_*` bits. */
	readonly flags: number;
	/** Bytes. */
	readonly size: number;
	/** Where it starts in the device's file, in bytes. */
	readonly offset: number;
	/** It, or its sparse areas, can be mapped. */
	readonly mappable: boolean;
	/** The MSI-X table in it may be mapped too; without this the kernel refuses to map the table's pages. */
	readonly msixMappable: boolean;
	/** What can be mapped, where that is not all of it. */
	readonly sparseAreas: readonly SparseArea[] | undefined;
	/** What a device-specific region (index 9 and up) is. */
	readonly type: RegionType | undefined;
}

/** A stretch of a region that can be mapped. */
export interface SparseArea {
	/** Bytes from the start of the region. */
	readonly offset: number;
	/** Bytes. */
	readonly size: number;
}

/** `VFIO_REGION_INFO_CAP_TYPE`. */
export interface RegionType {
	readonly type: number;
	readonly subtype: number;
}

/**
 * What a person calls a region of a device, such as `BAR 0` or `config space`.
 *
 * @param index `VFIO_PCI_*_REGION_INDEX`
 * @param kind of which the device is; `pci` when left out
 */
export function regionName(index: number, kind: DeviceKind = "pci"): string {
	if (kind === "platform") return `region ${index}`;
	if (index < VFIO_PCI_ROM_REGION_INDEX) return `BAR ${index}`;
	if (index === VFIO_PCI_ROM_REGION_INDEX) return "the ROM";
	if (index === VFIO_PCI_CONFIG_REGION_INDEX) return "config space";
	if (index === VFIO_PCI_VGA_REGION_INDEX) return "the VGA region";
	return `region ${index}`;
}

/**
 * `VFIO_DEVICE_GET_REGION_INFO`. An index that the kernel refuses with EINVAL, as it does for the VGA region of a device
 * that is no VGA adapter, is a region of size 0.
 *
 * @param device for errors, and for which regions may be missing
 * @throws VfioError `kernel`
 */
export function queryRegion(kernel: Kernel, fd: number, index: number, device: NamedDevice): Region {
	const { name, kind } = device;
	let bytes: Uint8Array;
	try {
		bytes = askWithRoom(
			vfio_region_info.size,
			(request) => {
				vfio_region_info.view(request).index = index;
			},
			(request) => retry(() => kernel.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, request)),
		);
	} catch (cause) {
		if (isErrno(cause, EINVAL) && kind === "pci" && mayBeMissing(index)) return absent(index);
		throw new VfioError("kernel", `Cannot query ${regionName(index, kind)} of ${name}: ${(cause as Error).message}`, {
			device: name,
			cause,
		});
	}
	const info = vfio_region_info.view(bytes);
	const last = info.offset + info.size;
	if (last > BigInt(Number.MAX_SAFE_INTEGER))
		throw new VfioError(
			"unassignable-device",
			`Cannot use ${regionName(index, kind)} of ${name}: it ends at 0x${last.toString(16)}, above 2^53`,
			{ device: name },
		);
	const capabilities = infoCapabilities(bytes, info.flags & VFIO_REGION_INFO_FLAG_CAPS ? info.cap_offset : 0);
	const offsetOf = (id: number) => capabilities.find((capability) => capability.id === id)?.offset;
	const sparse = offsetOf(VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	return {
		index,
		flags: info.flags,
		size: Number(info.size),
		offset: Number(info.offset),
		mappable: info.size > 0n && (info.flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0,
		msixMappable: offsetOf(VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) !== undefined,
		sparseAreas: sparse === undefined ? undefined : sparseAreas(bytes, sparse, Number(info.size)),
		type: regionType(bytes, offsetOf(VFIO_REGION_INFO_CAP_TYPE)),
	};
}

/** BARs and config space always exist, if with size 0; the VGA region and what is behind it need not. */
function mayBeMissing(index: number): boolean {
	return index >= VFIO_PCI_VGA_REGION_INDEX || index === VFIO_PCI_ROM_REGION_INDEX;
}

function absent(index: number): Region {
	return {
		index,
		flags: 0,
		size: 0,
		offset: 0,
		mappable: false,
		msixMappable: false,
		sparseAreas: undefined,
		type: undefined,
	};
}

/** Areas that lie in the structure and in the region; the rest of what a chain claims is left out. */
function sparseAreas(bytes: Uint8Array, offset: number, size: number): SparseArea[] {
	const areas: SparseArea[] = [];
	if (offset + vfio_region_info_cap_sparse_mmap.size > bytes.length) return areas;
	const count = vfio_region_info_cap_sparse_mmap.view(bytes, offset).nr_areas;
	let at = offset + vfio_region_info_cap_sparse_mmap.size;
	for (let n = 0; n < count && at + vfio_region_sparse_mmap_area.size <= bytes.length; n++) {
		const area = vfio_region_sparse_mmap_area.view(bytes, at);
		if (area.size > 0n && area.offset + area.size <= BigInt(size))
			areas.push({ offset: Number(area.offset), size: Number(area.size) });
		at += vfio_region_sparse_mmap_area.size;
	}
	return areas.sort((a, b) => a.offset - b.offset);
}

function regionType(bytes: Uint8Array, offset: number | undefined): RegionType | undefined {
	if (offset === undefined || offset + vfio_region_info_cap_type.size > bytes.length) return undefined;
	const { type, subtype } = vfio_region_info_cap_type.view(bytes, offset);
	return { type, subtype };
}
