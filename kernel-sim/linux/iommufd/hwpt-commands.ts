/**
 * Requests about page tables: IOMMU_HWPT_*, and what this IOMMU has no more of than others: nested and virtual ones.
 *
 * @module
 */
import { EINVAL, ENOENT, EOPNOTSUPP, EOVERFLOW } from "../../../core/uapi/errno.ts";
import {
	IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	IOMMU_HWPT_ALLOC_NEST_PARENT,
	IOMMU_HWPT_ALLOC_PASID,
	IOMMU_HWPT_DATA_NONE,
	IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	IOMMU_HWPT_FAULT_ID_VALID,
	IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
	type iommu_hw_queue_alloc,
	type iommu_hwpt_alloc,
	type iommu_hwpt_get_dirty_bitmap,
	type iommu_hwpt_invalidate,
	type iommu_hwpt_set_dirty_tracking,
	type iommu_vdevice_alloc,
	type iommu_veventq_alloc,
	type iommu_viommu_alloc,
} from "../../../core/uapi/iommufd.ts";
import { LAST_ADDRESS } from "../vfio/iova-ranges.ts";
import { IommufdDevice } from "./device.ts";
import { FaultQueue } from "./fault-queue.ts";
import { Hwpt } from "./hwpt.ts";
import { Ioas } from "./ioas.ts";
import type { CallOf } from "./ioas-commands.ts";
import type { IommufdPlatform } from "./platform.ts";

const FLAGS = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_FAULT_ID_VALID;
/** What newer kernels let nobody exceed. */
const INVALIDATION_ENTRY_LIMIT = 4096;
const INVALIDATION_LIMIT = 524288;
const EVENT_QUEUE_LIMIT = 524288;

/** IOMMU_HWPT_ALLOC. */
export function allocate({ context, view, respond }: CallOf<typeof iommu_hwpt_alloc>): number {
	if (view.__reserved !== 0 || view.__reserved2 !== 0) return -EOPNOTSUPP;
	if ((view.data_type === IOMMU_HWPT_DATA_NONE) !== (view.data_len === 0)) return -EINVAL;
	if (!context.find(view.dev_id, IommufdDevice)) return -ENOENT;
	const parent = context.objects.get(view.pt_id);
	// A page table below another one needs an IOMMU that nests.
	if (parent instanceof Hwpt) return view.data_len > 0 && view.flags === 0 ? -EINVAL : -EOPNOTSUPP;
	if (!(parent instanceof Ioas)) return -EINVAL;
	const refused = refusal(view.flags, context.platform) || (view.data_len > 0 ? -EOPNOTSUPP : 0);
	if (refused < 0) return refused;
	const faults = (view.flags & IOMMU_HWPT_FAULT_ID_VALID) !== 0;
	const tracksDirty = (view.flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING) !== 0;
	const hwpt = Hwpt.create(context, parent, { automatic: false, tracksDirty });
	const queue = faults ? context.find(view.fault_id, FaultQueue) : undefined;
	const answer = hwpt.fill() || (faults && !queue ? -ENOENT : 0);
	if (answer === 0) {
		if (queue) hwpt.deliverFaults(queue);
		view.out_hwpt_id = hwpt.id;
	}
	const result = answer || respond();
	if (result < 0) context.remove(hwpt);
	return result;
}

function refusal(flags: number, { dirtyTracking, version }: IommufdPlatform): number {
	if ((flags & ~(FLAGS | IOMMU_HWPT_ALLOC_PASID)) !== 0) return -EOPNOTSUPP;
	// Intel's driver of 6.12 leaves no faults to others.
	if (version === "6.12" && (flags & IOMMU_HWPT_FAULT_ID_VALID) !== 0) return -EOPNOTSUPP;
	// Neither nesting nor process address spaces: those need scalable mode.
	if ((flags & (IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID)) !== 0) return -EOPNOTSUPP;
	return (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING) !== 0 && !dirtyTracking ? -EOPNOTSUPP : 0;
}

/** IOMMU_HWPT_SET_DIRTY_TRACKING. */
export function setDirtyTracking({ context, view }: CallOf<typeof iommu_hwpt_set_dirty_tracking>): number {
	if ((view.flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0) return -EOPNOTSUPP;
	const hwpt = context.find(view.hwpt_id, Hwpt);
	if (!hwpt) return -ENOENT;
	if (!hwpt.dirty) return -EOPNOTSUPP;
	hwpt.dirty.set((view.flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0);
	return 0;
}

/** IOMMU_HWPT_GET_DIRTY_BITMAP. Where the walk meets nothing mapped, or no bitmap, it ends and nobody is told. */
export function getDirtyBitmap({ context, process, view }: CallOf<typeof iommu_hwpt_get_dirty_bitmap>): number {
	const { flags, iova, length, page_size: pageSize, data } = view;
	if ((flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) !== 0 || view.__reserved !== 0) return -EOPNOTSUPP;
	const hwpt = context.find(view.hwpt_id, Hwpt);
	if (!hwpt) return -ENOENT;
	// No length at all is, less one, the greatest.
	const last = iova + BigInt.asUintN(64, length - 1n);
	if (last > LAST_ADDRESS) return -EOVERFLOW;
	if ((iova | length) % hwpt.ioas.alignment !== 0n) return -EINVAL;
	if (pageSize === 0n || (iova | length) % pageSize !== 0n) return -EINVAL;
	if (!hwpt.dirty) return -EOPNOTSUPP;
	const clear = (flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) === 0;
	for (let start = iova; hwpt.dirty.enabled && start <= last; ) {
		const area = hwpt.ioas.areaAt(start);
		if (!area) return 0;
		const end = area.last < last ? area.last : last;
		const bitmap = { base: iova, pageSize, data };
		if (!hwpt.dirty.report(process.memory, { start, last: end }, bitmap, clear)) return 0;
		start = end + 1n;
	}
	return 0;
}

/** IOMMU_HWPT_INVALIDATE: for nested page tables, which this IOMMU has none of. */
export function invalidate({ context, view, respond }: CallOf<typeof iommu_hwpt_invalidate>): number {
	const refuse = (errno: number) => {
		view.entry_num = 0;
		return respond() || -errno;
	};
	const { entry_num: count, entry_len: length, data_uptr: address } = view;
	if (view.__reserved !== 0) return refuse(EOPNOTSUPP);
	if (count > 0 && (address === 0n || length === 0)) return refuse(EINVAL);
	const limited = context.platform.version !== "6.12";
	if (limited && (length > INVALIDATION_ENTRY_LIMIT || count > INVALIDATION_LIMIT)) return refuse(EINVAL);
	// 6.12 has not found what is no nested page table.
	return refuse(limited && context.objects.has(view.hwpt_id) ? EINVAL : ENOENT);
}

/** IOMMU_VIOMMU_ALLOC: Intel's driver has none. */
export function allocateViommu({ context, view }: CallOf<typeof iommu_viommu_alloc>): number {
	if (view.flags !== 0 || view.type === 0) return -EOPNOTSUPP;
	return context.find(view.dev_id, IommufdDevice) ? -EOPNOTSUPP : -ENOENT;
}

/** IOMMU_VDEVICE_ALLOC: there is no virtual IOMMU. */
export function allocateVdevice(_call: CallOf<typeof iommu_vdevice_alloc>): number {
	return -ENOENT;
}

/** IOMMU_VEVENTQ_ALLOC: there is no virtual IOMMU. */
export function allocateEventQueue({ view }: CallOf<typeof iommu_veventq_alloc>): number {
	if (view.flags !== 0 || view.__reserved !== 0 || view.type === 0) return -EOPNOTSUPP;
	return view.veventq_depth === 0 || view.veventq_depth > EVENT_QUEUE_LIMIT ? -EINVAL : -ENOENT;
}

/** IOMMU_HW_QUEUE_ALLOC: there is no virtual IOMMU. */
export function allocateHardwareQueue({ view }: CallOf<typeof iommu_hw_queue_alloc>): number {
	if (view.flags !== 0 || view.type === 0) return -EOPNOTSUPP;
	if (view.length === 0n) return -EINVAL;
	return view.nesting_parent_iova + view.length > LAST_ADDRESS ? -EOVERFLOW : -ENOENT;
}
