/**
 * VFIO_DEVICE_FEATURE: what a device can do beyond the basics (contract B.4).
 *
 * @module
 */
import { EFAULT, EINVAL, ENOTTY } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FEATURE_DMA_BUF,
	VFIO_DEVICE_FEATURE_GET,
	VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
	VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
	VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
	VFIO_DEVICE_FEATURE_MASK,
	VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
	VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
	VFIO_DEVICE_FEATURE_PROBE,
	VFIO_DEVICE_FEATURE_SET,
	vfio_device_feature,
	vfio_device_low_power_entry_with_wakeup,
} from "../../../core/uapi/vfio.ts";
import { EventFd } from "../eventfd.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { exportDmaBuf, vfio_device_feature_dma_buf } from "./dma-buf.ts";
import type { OpenDevice } from "./open-device.ts";

const DIRECTIONS = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
const KNOWN = VFIO_DEVICE_FEATURE_MASK | DIRECTIONS | VFIO_DEVICE_FEATURE_PROBE;
const UUID_SIZE = 16;

/** Validates the argument and carries it out. @returns 0 or more, or a negative errno */
export function deviceFeature(device: OpenDevice, process: SimProcess, argument: IoctlArgument): number {
	const header = argument.read(vfio_device_feature.size);
	if (!header) return -EFAULT;
	const { argsz, flags } = vfio_device_feature.view(header);
	if (argsz < vfio_device_feature.size || (flags & ~KNOWN) !== 0) return -EINVAL;
	if ((flags & VFIO_DEVICE_FEATURE_PROBE) === 0 && (flags & DIRECTIONS) === DIRECTIONS) return -EINVAL;
	/** The common checks. @returns 1 to go on, 0 when it was a probe, or a negative errno */
	const check = (supported: number, size: number): number => {
		if ((flags & DIRECTIONS & ~supported) !== 0) return -EINVAL;
		if ((flags & VFIO_DEVICE_FEATURE_PROBE) !== 0) return 0;
		if ((flags & DIRECTIONS) === 0 || argsz - vfio_device_feature.size < size) return -EINVAL;
		return 1;
	};
	const { power, bound } = device;
	switch (flags & VFIO_DEVICE_FEATURE_MASK) {
		case VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: {
			if (!bound.vfToken) return -ENOTTY;
			const checked = check(VFIO_DEVICE_FEATURE_SET, UUID_SIZE);
			return checked === 1 ? setToken(device, argument) : checked;
		}
		case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY: {
			const checked = check(VFIO_DEVICE_FEATURE_SET, 0);
			return checked === 1 ? power.enterLowPower(undefined) : checked;
		}
		case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: {
			const checked = check(VFIO_DEVICE_FEATURE_SET, vfio_device_low_power_entry_with_wakeup.size);
			return checked === 1 ? sleepUntilUsed(device, process, argument) : checked;
		}
		case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT: {
			const checked = check(VFIO_DEVICE_FEATURE_SET, 0);
			if (checked === 1) power.exitLowPower();
			return Math.min(checked, 0);
		}
		case VFIO_DEVICE_FEATURE_DMA_BUF: {
			if (bound.options.version === "6.12") return -ENOTTY;
			const checked = check(VFIO_DEVICE_FEATURE_GET, vfio_device_feature_dma_buf.size);
			return checked === 1 ? exportDmaBuf(device, process, argument, vfio_device_feature.size) : checked;
		}
		case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
			return bound.options.version === "6.12" ? -ENOTTY : -EINVAL;
		default:
			return -ENOTTY;
	}
}

function setToken(device: OpenDevice, argument: IoctlArgument): number {
	const uuid = argument.read(UUID_SIZE, vfio_device_feature.size);
	if (!uuid) return -EFAULT;
	const digits = [...uuid].map((byte) => byte.toString(16).padStart(2, "0")).join("");
	device.bound.vfToken?.set(digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"));
	return 0;
}

function sleepUntilUsed(device: OpenDevice, process: SimProcess, argument: IoctlArgument): number {
	const data = argument.read(vfio_device_low_power_entry_with_wakeup.size, vfio_device_feature.size);
	if (!data) return -EFAULT;
	const { wakeup_eventfd: fd } = vfio_device_low_power_entry_with_wakeup.view(data);
	if (fd < 0) return -EINVAL;
	const event = EventFd.fromFd(process, fd);
	if (typeof event === "number") return event;
	const answer = device.power.enterLowPower(event);
	if (answer !== 0) event.unreference();
	return answer;
}
