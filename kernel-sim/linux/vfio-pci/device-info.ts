/**
 * What an open device says about itself: VFIO_DEVICE_GET_INFO, GET_REGION_INFO and GET_IRQ_INFO (contract B.3).
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FLAGS_PCI,
	VFIO_DEVICE_FLAGS_RESET,
	VFIO_PCI_BAR5_REGION_INDEX,
	VFIO_PCI_NUM_IRQS,
	VFIO_PCI_NUM_REGIONS,
	VFIO_PCI_ROM_REGION_INDEX,
	VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
	VFIO_REGION_INFO_FLAG_CAPS,
	VFIO_REGION_INFO_FLAG_MMAP,
	VFIO_REGION_INFO_FLAG_READ,
	VFIO_REGION_INFO_FLAG_WRITE,
	vfio_device_info,
	vfio_info_cap_header,
	vfio_irq_info,
	vfio_region_info,
} from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import { REGION_STRIDE } from "../vfio/region-offset.ts";
import type { Interrupts } from "./interrupts.ts";
import type { Regions } from "./regions.ts";

/** Bytes of `vfio_device_info` before the capability offset was added. */
const DEVICE_INFO_MINIMUM = 16;

/** What the answers are taken from. */
export interface Described {
	/** The reset that was tried at open worked. */
	readonly resettable: boolean;
	readonly regions: Regions;
	readonly interrupts: Interrupts;
	/** Whether a BAR may be mapped. */
	canMap(bar: number): boolean;
}

/** VFIO_DEVICE_GET_INFO. @returns 0 or a negative errno */
export function getInfo(device: Pick<Described, "resettable">, argument: IoctlArgument): number {
	const header = argument.read(DEVICE_INFO_MINIMUM);
	if (!header) return -EFAULT;
	const info = vfio_device_info.create();
	info.bytes.set(header);
	if (info.argsz < DEVICE_INFO_MINIMUM) return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | (device.resettable ? VFIO_DEVICE_FLAGS_RESET : 0);
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return argument.write(info.bytes.subarray(0, Math.min(info.argsz, vfio_device_info.size))) ? 0 : -EFAULT;
}

/** VFIO_DEVICE_GET_REGION_INFO. @returns 0 or a negative errno */
export function getRegionInfo(device: Described, argument: IoctlArgument): number {
	const header = argument.read(vfio_region_info.size);
	if (!header) return -EFAULT;
	const info = vfio_region_info.view(header.slice());
	if (info.argsz < vfio_region_info.size) return -EINVAL;
	const { index } = info;
	const size = device.regions.size(index);
	if (size < 0) return size;
	info.size = BigInt(size);
	info.offset = BigInt(index) * BigInt(REGION_STRIDE);
	info.flags = size === 0 ? 0 : VFIO_REGION_INFO_FLAG_READ;
	if (size > 0 && index !== VFIO_PCI_ROM_REGION_INDEX) info.flags |= VFIO_REGION_INFO_FLAG_WRITE;
	if (index <= VFIO_PCI_BAR5_REGION_INDEX && device.canMap(index)) {
		info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
		if (index === device.regions.tableBar) return addMappable(info, argument);
	}
	return argument.write(info.bytes) ? 0 : -EFAULT;
}

/** The MSI-X table may be mapped although reads and writes of it are refused: a capability without content says so. */
function addMappable(info: ReturnType<typeof vfio_region_info.view>, argument: IoctlArgument): number {
	info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
	const needed = vfio_region_info.size + vfio_info_cap_header.size;
	if (info.argsz < needed) {
		info.argsz = needed;
		info.cap_offset = 0;
		return argument.write(info.bytes) ? 0 : -EFAULT;
	}
	const capability = vfio_info_cap_header.create();
	capability.id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE;
	capability.version = 1;
	info.cap_offset = vfio_region_info.size;
	return argument.write(capability.bytes, vfio_region_info.size) && argument.write(info.bytes) ? 0 : -EFAULT;
}

/** VFIO_DEVICE_GET_IRQ_INFO. @returns 0 or a negative errno */
export function getIrqInfo(device: Pick<Described, "interrupts">, argument: IoctlArgument): number {
	const header = argument.read(vfio_irq_info.size);
	if (!header) return -EFAULT;
	const info = vfio_irq_info.view(header.slice());
	if (info.argsz < vfio_irq_info.size || info.index >= VFIO_PCI_NUM_IRQS) return -EINVAL;
	const flags = device.interrupts.flags(info.index);
	if (flags < 0) return flags;
	info.flags = flags;
	info.count = device.interrupts.count(info.index);
	return argument.write(info.bytes) ? 0 : -EFAULT;
}
