/**
 * VFIO's own requests on /dev/iommu, which stands in for a container then (contract F.2).
 *
 * @module
 */
import { EFAULT, EINVAL, ENODEV, ENOTTY, EOVERFLOW, EPERM } from "../../../core/uapi/errno.ts";
import { IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } from "../../../core/uapi/iommufd.ts";
import {
	VFIO_API_VERSION,
	VFIO_CHECK_EXTENSION,
	VFIO_DMA_CC_IOMMU,
	VFIO_DMA_MAP_FLAG_READ,
	VFIO_DMA_MAP_FLAG_WRITE,
	VFIO_DMA_UNMAP_FLAG_ALL,
	VFIO_GET_API_VERSION,
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_INFO_CAPS,
	VFIO_IOMMU_INFO_PGSIZES,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
	VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
	VFIO_IOMMU_UNMAP_DMA,
	VFIO_NOIOMMU_IOMMU,
	VFIO_SET_IOMMU,
	VFIO_TYPE1_IOMMU,
	VFIO_TYPE1v2_IOMMU,
	VFIO_UNMAP_ALL,
	vfio_iommu_type1_dma_map,
	vfio_iommu_type1_dma_unmap,
	vfio_iommu_type1_info,
	vfio_iommu_type1_info_cap_iova_range,
	vfio_iommu_type1_info_dma_avail,
	vfio_iova_range,
} from "../../../core/uapi/vfio.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { LAST_ADDRESS } from "../vfio/iova-ranges.ts";
import type { IommufdContext } from "./context.ts";
import { Ioas } from "./ioas.ts";
import { mapUser } from "./ioas-commands.ts";

/** As many mappings as there is memory for. */
const UNLIMITED = 0xffff_ffff;
/** What a caller of the first version knows: up to iova_pgsizes. */
const SMALLEST_INFO = vfio_iommu_type1_info.offsets.cap_offset;

/** A group with an IOMMU comes in: there is an address space for it. @returns 0, or -EINVAL beside groups without one */
export function admitGroup(context: IommufdContext): number {
	if (context.withoutIommu) return -EINVAL;
	context.compatible ??= context.add(new Ioas(context));
	return 0;
}

/** A group without an IOMMU comes in. @returns 0, or -EINVAL when there is an address space */
export function admitGroupWithoutIommu(context: IommufdContext): number {
	if (context.compatible) return -EINVAL;
	context.withoutIommu = true;
	return 0;
}

/** Answers a container's request. @returns 0 or more, or -errno; -ENOTTY for any other */
export function containerRequest(
	context: IommufdContext,
	process: SimProcess,
	request: number,
	argument: IoctlArgument,
): number {
	switch (request) {
		case VFIO_GET_API_VERSION:
			return VFIO_API_VERSION;
		case VFIO_CHECK_EXTENSION:
			return checkExtension(context, argument.value);
		case VFIO_SET_IOMMU:
			return setIommu(context, process, argument.value);
		case VFIO_IOMMU_GET_INFO:
			return getInfo(context, argument);
		case VFIO_IOMMU_MAP_DMA:
			return mapDma(context, process, argument);
		case VFIO_IOMMU_UNMAP_DMA:
			return unmapDma(context, argument);
		default:
			return -ENOTTY;
	}
}

function checkExtension({ compatible, platform }: IommufdContext, extension: number): number {
	switch (extension) {
		case VFIO_TYPE1_IOMMU:
		case VFIO_TYPE1v2_IOMMU:
		case VFIO_UNMAP_ALL:
			return 1;
		case VFIO_NOIOMMU_IOMMU:
			return platform.noIommu ? 1 : 0;
		case VFIO_DMA_CC_IOMMU:
			if (!compatible) return -ENODEV;
			return compatible.hwpts.length === 0 || platform.enforcesCoherency ? 1 : 0;
		default:
			return 0;
	}
}

/** Type 1 lets mappings be cut, and so must have small pages; whoever wants it may say so again. */
function setIommu(context: IommufdContext, process: SimProcess, type: number): number {
	if (type === VFIO_NOIOMMU_IOMMU && context.withoutIommu && context.platform.noIommu)
		return process.capable("CAP_SYS_RAWIO") ? 0 : -EPERM;
	if ((type !== VFIO_TYPE1_IOMMU && type !== VFIO_TYPE1v2_IOMMU) || context.withoutIommu) return -EINVAL;
	if (!context.compatible) return -ENODEV;
	return type === VFIO_TYPE1_IOMMU ? context.compatible.useSmallPagesOnly() : 0;
}

function mapDma(context: IommufdContext, process: SimProcess, argument: IoctlArgument): number {
	const bytes = argument.read(vfio_iommu_type1_dma_map.size);
	if (!bytes) return -EFAULT;
	const { argsz, flags, vaddr, iova, size } = vfio_iommu_type1_dma_map.view(bytes);
	if (argsz < vfio_iommu_type1_dma_map.size) return -EINVAL;
	if ((flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)) !== 0) return -EINVAL;
	if (!context.compatible) return -ENODEV;
	const access =
		((flags & VFIO_DMA_MAP_FLAG_READ) !== 0 ? IOMMU_IOAS_MAP_READABLE : 0) |
		((flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0 ? IOMMU_IOAS_MAP_WRITEABLE : 0);
	const mapped = mapUser(context, context.compatible, process, { address: vaddr, length: size, iova, flags: access });
	return typeof mapped === "number" ? mapped : 0;
}

function unmapDma({ compatible }: IommufdContext, argument: IoctlArgument): number {
	const bytes = argument.read(vfio_iommu_type1_dma_unmap.size)?.slice();
	if (!bytes) return -EFAULT;
	const view = vfio_iommu_type1_dma_unmap.view(bytes);
	if (view.argsz < vfio_iommu_type1_dma_unmap.size || (view.flags & ~VFIO_DMA_UNMAP_FLAG_ALL) !== 0) return -EINVAL;
	if (!compatible) return -ENODEV;
	const all = (view.flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0;
	if (all && (view.iova !== 0n || view.size !== 0n)) return -EINVAL;
	const result = all ? { answer: 0, bytes: compatible.unmapAll() } : unmapRange(compatible, view.iova, view.size);
	// Said also when it failed half-way.
	view.size = result.bytes;
	return argument.write(bytes) ? result.answer : -EFAULT;
}

function unmapRange(ioas: Ioas, iova: bigint, size: bigint): { answer: number; bytes: bigint } {
	const last = iova + size - 1n;
	if (ioas.smallPagesOnly) {
		const cut = ioas.cutAfter(BigInt.asUintN(64, last)) || (iova > 0n ? ioas.cutAfter(iova - 1n) : 0);
		if (cut < 0) return { answer: cut, bytes: 0n };
	}
	if (size === 0n) return { answer: -EINVAL, bytes: 0n };
	return last > LAST_ADDRESS ? { answer: -EOVERFLOW, bytes: 0n } : ioas.unmap(iova, last);
}

function getInfo({ compatible }: IommufdContext, argument: IoctlArgument): number {
	const header = argument.read(SMALLEST_INFO);
	if (!header) return -EFAULT;
	const argsz = new DataView(header.buffer, header.byteOffset).getUint32(0, true);
	if (argsz < SMALLEST_INFO) return -EINVAL;
	if (!compatible) return -ENODEV;
	let total = vfio_iommu_type1_info.size;
	let previous: number | undefined;
	for (const capability of capabilities(compatible)) {
		const at = total;
		// The one before points here when the caller has room up to here.
		if (previous !== undefined && argsz >= at && !argument.write(int32(at), previous + 4)) return -EFAULT;
		for (const part of capability.parts)
			if (argsz - at >= part.needs && !argument.write(part.bytes, at + part.at)) return -EFAULT;
		previous = at;
		total += Math.ceil(capability.size / 8) * 8;
	}
	const info = vfio_iommu_type1_info.create();
	info.argsz = total;
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = pageSizes(compatible);
	// What fits is written all the same.
	if (argsz >= total) info.cap_offset = vfio_iommu_type1_info.size;
	return argument.write(info.bytes.subarray(0, Math.min(argsz, info.bytes.length))) ? 0 : -EFAULT;
}

/** Without a page table any size would do. */
function pageSizes(ioas: Ioas): bigint {
	let sizes = LAST_ADDRESS;
	for (const hwpt of ioas.hwpts) sizes &= hwpt.pageSizes;
	const below = BigInt(PAGE_SIZE) - 1n;
	return (sizes & below) === 0n ? sizes : (sizes & ~below) | BigInt(PAGE_SIZE);
}

/** A capability, as it is written: each part when the caller has that many bytes from the capability's start. */
interface InfoCapability {
	/** Bytes, without the padding behind it. */
	readonly size: number;
	readonly parts: readonly { readonly at: number; readonly bytes: Uint8Array; readonly needs: number }[];
}

function capabilities(ioas: Ioas): InfoCapability[] {
	const available = vfio_iommu_type1_info_dma_avail.create();
	Object.assign(available, { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, avail: UNLIMITED });
	const spans = ioas.ranges;
	const header = vfio_iommu_type1_info_cap_iova_range.create();
	Object.assign(header, { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, nr_iovas: spans.length });
	const ranges = spans.map(({ start, last }, index) => {
		const range = vfio_iova_range.create();
		Object.assign(range, { start, end: last });
		const at = header.bytes.length + index * vfio_iova_range.size;
		return { at, bytes: range.bytes, needs: at + vfio_iova_range.size };
	});
	const size = header.bytes.length + spans.length * vfio_iova_range.size;
	return [
		{
			size: available.bytes.length,
			parts: [{ at: 0, bytes: available.bytes, needs: available.bytes.length }],
		},
		// The header comes last, when all of it fits.
		{ size, parts: [...ranges, { at: 0, bytes: header.bytes, needs: size }] },
	];
}

function int32(value: number): Uint8Array {
	const bytes = new Uint8Array(4);
	new DataView(bytes.buffer).setUint32(0, value, true);
	return bytes;
}
