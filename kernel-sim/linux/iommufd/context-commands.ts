/**
 * Requests about a context as a whole, and about its devices.
 *
 * @module
 */
import { EBUSY, EFAULT, EINVAL, EMFILE, ENODEV, ENOENT, EOPNOTSUPP, EPERM } from "../../../core/uapi/errno.ts";
import {
	IOMMU_HW_CAP_DIRTY_TRACKING,
	IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED,
	IOMMU_HW_INFO_TYPE_INTEL_VTD,
	IOMMU_OPTION_HUGE_PAGES,
	IOMMU_OPTION_OP_GET,
	IOMMU_OPTION_OP_SET,
	IOMMU_OPTION_RLIMIT_MODE,
	IOMMU_VFIO_IOAS_CLEAR,
	IOMMU_VFIO_IOAS_GET,
	IOMMU_VFIO_IOAS_SET,
	type iommu_fault_alloc,
	type iommu_hw_info,
	iommu_hw_info_vtd,
	type iommu_ioas_change_process,
	type iommu_option,
	type iommu_vfio_ioas,
} from "../../../core/uapi/iommufd.ts";
import { IommufdDevice } from "./device.ts";
import { FaultQueue, FaultQueueFile } from "./fault-queue.ts";
import { Ioas } from "./ioas.ts";
import type { CallOf } from "./ioas-commands.ts";
import { fillBuffer } from "./user-struct.ts";

/** Bytes of `iommu_hw_info` that must be 0; 6.12 has nothing in the first of them. */
const HW_INFO_RESERVED = { "6.12": [28, 29, 30, 31], "7.2": [29, 30, 31] } as const;
/** IOMMU_HW_INFO_FLAG_INPUT_TYPE. */
const INPUT_TYPE = 1;

/** IOMMU_OPTION. */
export function option(call: CallOf<typeof iommu_option>): number {
	const { view, respond } = call;
	if (view.__reserved !== 0) return -EOPNOTSUPP;
	const set = view.op === IOMMU_OPTION_OP_SET;
	if (!set && view.op !== IOMMU_OPTION_OP_GET) return -EOPNOTSUPP;
	let answer: number;
	if (view.option_id === IOMMU_OPTION_RLIMIT_MODE) answer = rlimitMode(call, set);
	else if (view.option_id === IOMMU_OPTION_HUGE_PAGES) answer = hugePages(call, set);
	else return -EOPNOTSUPP;
	return answer || respond();
}

/** 0: memory is charged to users; 1: to processes, as by VFIO's containers. */
function rlimitMode({ context, process, view }: CallOf<typeof iommu_option>, set: boolean): number {
	if (view.object_id !== 0) return -EOPNOTSUPP;
	if (!set) {
		view.val64 = context.accounting === "process" ? 1n : 0n;
		return 0;
	}
	if (!process.capable("CAP_SYS_RESOURCE")) return -EPERM;
	if (context.objects.size > 0) return -EBUSY;
	if (view.val64 > 1n) return -EINVAL;
	context.accounting = view.val64 === 1n ? "process" : "user";
	return 0;
}

function hugePages({ context, view }: CallOf<typeof iommu_option>, set: boolean): number {
	const ioas = context.find(view.object_id, Ioas);
	if (!ioas) return -ENOENT;
	if (!set) {
		view.val64 = ioas.smallPagesOnly ? 0n : 1n;
		return 0;
	}
	if (view.val64 === 0n) return ioas.useSmallPagesOnly();
	if (view.val64 !== 1n) return -EINVAL;
	ioas.useAllPages();
	return 0;
}

/** IOMMU_VFIO_IOAS: which address space VFIO's own requests work on. */
export function vfioIoas({ context, view, respond }: CallOf<typeof iommu_vfio_ioas>): number {
	if (view.__reserved !== 0) return -EOPNOTSUPP;
	switch (view.op) {
		case IOMMU_VFIO_IOAS_GET:
			if (!context.compatible) return -ENODEV;
			view.ioas_id = context.compatible.id;
			return respond();
		case IOMMU_VFIO_IOAS_SET: {
			const ioas = context.find(view.ioas_id, Ioas);
			if (!ioas) return -ENOENT;
			context.compatible = ioas;
			return 0;
		}
		case IOMMU_VFIO_IOAS_CLEAR:
			context.compatible = undefined;
			return 0;
		default:
			return -EOPNOTSUPP;
	}
}

/** IOMMU_GET_HW_INFO: the registers that say what the IOMMU above a device can do. */
export function hwInfo({ context, process, view, respond }: CallOf<typeof iommu_hw_info>): number {
	const { version, registers, dirtyTracking } = context.platform;
	const known = version === "6.12" ? 0 : INPUT_TYPE;
	if ((view.flags & ~known) !== 0) return -EOPNOTSUPP;
	if (HW_INFO_RESERVED[version].some((at) => view.bytes[at] !== 0)) return -EOPNOTSUPP;
	if (!context.find(view.dev_id, IommufdDevice)) return -ENOENT;
	// A caller may ask for one kind of answer: this IOMMU has one, and gives it to those who do not care.
	if (view.flags === INPUT_TYPE && ![0, IOMMU_HW_INFO_TYPE_INTEL_VTD].includes(view.out_data_type)) return -EOPNOTSUPP;
	const info = iommu_hw_info_vtd.create();
	Object.assign(info, { cap_reg: registers.cap, ecap_reg: registers.ecap });
	if (!fillBuffer(process.memory, view.data_uptr, view.data_len, info.bytes)) return -EFAULT;
	view.data_len = info.bytes.length;
	view.out_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD;
	view.out_max_pasid_log2 = 0;
	const noAts = version === "6.12" ? 0 : IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
	view.out_capabilities = BigInt((dirtyTracking ? IOMMU_HW_CAP_DIRTY_TRACKING : 0) | noAts);
	return respond();
}

/** IOMMU_FAULT_QUEUE_ALLOC. */
export function faultQueue({ context, file, process, view, respond }: CallOf<typeof iommu_fault_alloc>): number {
	if (view.flags !== 0) return -EOPNOTSUPP;
	if (process.descriptorsExhausted) return -EMFILE;
	const queue = context.add(new FaultQueue());
	const queueFile = new FaultQueueFile(queue, file);
	view.out_fault_id = queue.id;
	view.out_fault_fd = process.installFile(queueFile);
	const answer = respond();
	if (answer < 0) {
		process.close(view.out_fault_fd);
		context.remove(queue);
	}
	return answer;
}

/** IOMMU_IOAS_CHANGE_PROCESS: memory of files is charged to the caller from now on; other memory cannot move. */
export function changeProcess({ context, view }: CallOf<typeof iommu_ioas_change_process>): number {
	if (view.__reserved !== 0) return -EOPNOTSUPP;
	return context.areas.some((area) => area.pages.ofProcess) ? -EINVAL : 0;
}
