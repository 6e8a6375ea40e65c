/**
 * What vfio-pci has beyond the basics (contract B.4).
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
	VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
	VFIO_DEVICE_FEATURE_SET,
	vfio_device_feature,
	vfio_device_feature_dma_buf,
	vfio_device_low_power_entry_with_wakeup,
} from "../../../core/uapi/vfio.ts";
import { EventFd } from "../eventfd.ts";
import { UUID_SIZE, uuidText } from "../uuid.ts";
import type { FeatureRequest } from "../vfio/device-feature.ts";
import { exportDmaBuf } from "./dma-buf.ts";
import type { OpenDevice } from "./open-device.ts";

/** Carries a request out. @returns 0 or more, or a negative errno */
export function pciFeature(device: OpenDevice, request: FeatureRequest): number {
	const { power, bound } = device;
	switch (request.index) {
		case VFIO_DEVICE_FEATURE_PCI_VF_TOKEN: {
			if (!bound.vfToken) return -ENOTTY;
			const checked = request.check(VFIO_DEVICE_FEATURE_SET, UUID_SIZE);
			return checked === 1 ? setToken(device, request) : checked;
		}
		case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY: {
			const checked = request.check(VFIO_DEVICE_FEATURE_SET, 0);
			return checked === 1 ? power.enterLowPower(undefined) : checked;
		}
		case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: {
			const checked = request.check(VFIO_DEVICE_FEATURE_SET, vfio_device_low_power_entry_with_wakeup.size);
			return checked === 1 ? sleepUntilUsed(device, request) : checked;
		}
		case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT: {
			const checked = request.check(VFIO_DEVICE_FEATURE_SET, 0);
			if (checked === 1) power.exitLowPower();
			return Math.min(checked, 0);
		}
		case VFIO_DEVICE_FEATURE_DMA_BUF: {
			if (bound.options.version === "6.12") return -ENOTTY;
			const checked = request.check(VFIO_DEVICE_FEATURE_GET, vfio_device_feature_dma_buf.size);
			if (checked !== 1) return checked;
			return exportDmaBuf(device, request.process, request.argument, vfio_device_feature.size);
		}
		default:
			return -ENOTTY;
	}
}

function setToken(device: OpenDevice, request: FeatureRequest): number {
	const uuid = request.read(UUID_SIZE);
	if (!uuid) return -EFAULT;
	device.bound.vfToken?.set(uuidText(uuid));
	return 0;
}

function sleepUntilUsed(device: OpenDevice, request: FeatureRequest): number {
	const data = request.read(vfio_device_low_power_entry_with_wakeup.size);
	if (!data) return -EFAULT;
	const { wakeup_eventfd: fd } = vfio_device_low_power_entry_with_wakeup.view(data);
	if (fd < 0) return -EINVAL;
	const event = EventFd.fromFd(request.process, fd);
	if (typeof event === "number") return event;
	const answer = device.power.enterLowPower(event);
	if (answer !== 0) event.unreference();
	return answer;
}
