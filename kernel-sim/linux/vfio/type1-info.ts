/**
 * The answer of VFIO_IOMMU_GET_INFO: page sizes, and a chain of capabilities.
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import {
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
} from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import { MAX_DIRTY_BITMAP_SIZE } from "./dirty-bitmap.ts";
import type { IovaRange } from "./iova-ranges.ts";

/** What there is to tell. */
export interface Type1Facts {
	readonly pageSizes: bigint;
	/** Bytes of the smallest page. */
	readonly pageSize: bigint;
	/** How many more mappings there may be. */
	readonly available: number;
	readonly ranges: readonly IovaRange[];
}

/** What a caller of the first version knows: up to iova_pgsizes. */
const SMALLEST = vfio_iommu_type1_info.offsets.cap_offset;

/** Fills in the caller's structure as far as it has room. @returns 0 or -errno */
export function answerInfo(argument: IoctlArgument, facts: Type1Facts): number {
	const header = argument.read(SMALLEST);
	if (!header) return -EFAULT;
	const argsz = new DataView(header.buffer, header.byteOffset).getUint32(0, true);
	if (argsz < SMALLEST) return -EINVAL;
	const chain = capabilities(facts);
	const total = vfio_iommu_type1_info.size + chain.reduce((bytes, capability) => bytes + capability.length, 0);
	const info = vfio_iommu_type1_info.create();
	info.argsz = argsz;
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = facts.pageSizes;
	if (argsz < total) info.argsz = total;
	else {
		if (!writeChain(argument, chain)) return -EFAULT;
		info.cap_offset = vfio_iommu_type1_info.size;
	}
	return argument.write(info.bytes.subarray(0, Math.min(argsz, info.bytes.length))) ? 0 : -EFAULT;
}

/** Each padded to 8 bytes, its `next` still empty. */
function capabilities(facts: Type1Facts): Uint8Array[] {
	const migration = vfio_iommu_type1_info_cap_migration.create();
	Object.assign(migration, { id: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, version: 1 });
	migration.pgsize_bitmap = facts.pageSize;
	migration.max_dirty_bitmap_size = MAX_DIRTY_BITMAP_SIZE;
	const available = vfio_iommu_type1_info_dma_avail.create(4);
	Object.assign(available, { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, avail: facts.available });
	const { size } = vfio_iommu_type1_info_cap_iova_range;
	const ranges = vfio_iommu_type1_info_cap_iova_range.create(facts.ranges.length * vfio_iova_range.size);
	Object.assign(ranges, { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, nr_iovas: facts.ranges.length });
	for (const [index, range] of facts.ranges.entries())
		Object.assign(vfio_iova_range.view(ranges.bytes, size + index * vfio_iova_range.size), range);
	// Without an IOMMU there is nothing that any address would be too much for.
	return [migration.bytes, available.bytes, ...(facts.ranges.length > 0 ? [ranges.bytes] : [])];
}

function writeChain(argument: IoctlArgument, chain: readonly Uint8Array[]): boolean {
	let offset = vfio_iommu_type1_info.size;
	for (const [index, capability] of chain.entries()) {
		const next = index + 1 < chain.length ? offset + capability.length : 0;
		new DataView(capability.buffer).setUint32(4, next, true);
		if (!argument.write(capability, offset)) return false;
		offset += capability.length;
	}
	return true;
}
