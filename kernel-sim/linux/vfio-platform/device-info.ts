/**
 * What an open platform device says about itself (contract B.9).
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FLAGS_PLATFORM,
	VFIO_DEVICE_FLAGS_RESET,
	vfio_device_info,
	vfio_irq_info,
	vfio_region_info,
} from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import { REGION_STRIDE } from "../vfio/region-offset.ts";
import type { OpenPlatformDevice } from "./open-device.ts";

/** Bytes of `vfio_device_info` up to the counts: a platform device has nothing to say in the rest. */
const DEVICE_INFO_MINIMUM = 16;

/** VFIO_DEVICE_GET_INFO. @returns 0 or a negative errno */
export function getInfo(device: OpenPlatformDevice, argument: IoctlArgument): number {
	const header = argument.read(DEVICE_INFO_MINIMUM);
	if (!header) return -EFAULT;
	const info = vfio_device_info.create();
	info.bytes.set(header);
	if (info.argsz < DEVICE_INFO_MINIMUM) return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PLATFORM | (device.resettable ? VFIO_DEVICE_FLAGS_RESET : 0);
	info.num_regions = device.regions.count;
	info.num_irqs = device.irqs.length;
	return argument.write(info.bytes.subarray(0, DEVICE_INFO_MINIMUM)) ? 0 : -EFAULT;
}

/** VFIO_DEVICE_GET_REGION_INFO. @returns 0 or a negative errno */
export function getRegionInfo(device: OpenPlatformDevice, argument: IoctlArgument): number {
	const header = argument.read(vfio_region_info.size);
	if (!header) return -EFAULT;
	const info = vfio_region_info.view(header.slice());
	if (info.argsz < vfio_region_info.size || info.index >= device.regions.count) return -EINVAL;
	info.offset = BigInt(info.index) * BigInt(REGION_STRIDE);
	info.size = BigInt(device.regions.size(info.index));
	info.flags = device.regions.flags(info.index);
	return argument.write(info.bytes) ? 0 : -EFAULT;
}

/** VFIO_DEVICE_GET_IRQ_INFO. @returns 0 or a negative errno */
export function getIrqInfo(device: OpenPlatformDevice, argument: IoctlArgument): number {
	const header = argument.read(vfio_irq_info.size);
	if (!header) return -EFAULT;
	const info = vfio_irq_info.view(header.slice());
	const irq = device.irqs[info.index];
	if (info.argsz < vfio_irq_info.size || !irq) return -EINVAL;
	info.flags = irq.flags;
	info.count = 1;
	return argument.write(info.bytes) ? 0 : -EFAULT;
}
