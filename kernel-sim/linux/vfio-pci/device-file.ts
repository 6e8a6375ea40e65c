/**
 * A descriptor of an open vfio-pci device.
 *
 * @module
 */
import { EINVAL, ENOTTY } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FEATURE,
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_DEVICE_IOEVENTFD,
	VFIO_DEVICE_PCI_HOT_RESET,
	VFIO_DEVICE_RESET,
	VFIO_DEVICE_SET_IRQS,
	VFIO_PCI_BAR5_REGION_INDEX,
} from "../../../core/uapi/vfio.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { RegionMapping } from "../region-mapping.ts";
import { deviceFeature } from "../vfio/device-feature.ts";
import { VfioDeviceFile } from "../vfio/device-file.ts";
import { REGION_STRIDE } from "../vfio/region-offset.ts";
import type { RegisteredDevice } from "../vfio/registered-device.ts";
import { BarMemory } from "./bar-memory.ts";
import { getInfo, getIrqInfo, getRegionInfo } from "./device-info.ts";
import { getHotResetInfo, hotReset } from "./hot-reset.ts";
import type { OpenDevice } from "./open-device.ts";
import { setIrqs } from "./set-irqs.ts";

/** A descriptor of it. All of a device share its one open instance. */
export class DeviceFile extends VfioDeviceFile {
	readonly opened: OpenDevice;

	constructor(record: RegisteredDevice, opened: OpenDevice) {
		super(record);
		this.opened = opened;
	}

	protected override request(process: SimProcess, request: number, argument: IoctlArgument): number {
		this.opened.power.wake();
		const answer = this.#dispatch(process, request, argument);
		this.opened.idle();
		return answer;
	}

	#dispatch(process: SimProcess, request: number, argument: IoctlArgument): number {
		switch (request) {
			case VFIO_DEVICE_GET_INFO:
				return getInfo(this.opened, argument);
			case VFIO_DEVICE_GET_REGION_INFO:
				return getRegionInfo(this.opened, argument);
			case VFIO_DEVICE_GET_IRQ_INFO:
				return getIrqInfo(this.opened, argument);
			case VFIO_DEVICE_SET_IRQS:
				return setIrqs(this.opened, process, argument);
			case VFIO_DEVICE_RESET:
				return this.opened.reset();
			case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
				return getHotResetInfo(this.opened.bound, argument);
			case VFIO_DEVICE_PCI_HOT_RESET:
				return hotReset(this.opened.bound, process, argument);
			case VFIO_DEVICE_IOEVENTFD:
				return this.opened.ioEventFds.set(process, argument);
			case VFIO_DEVICE_FEATURE:
				return deviceFeature(this.opened, process, argument);
			default:
				return -ENOTTY;
		}
	}

	override pread(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		this.opened.power.wake();
		const answer = this.opened.regions.read(offset, buffer);
		this.opened.idle();
		return answer;
	}

	override pwrite(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		this.opened.power.wake();
		const answer = this.opened.regions.write(offset, buffer);
		this.opened.idle();
		return answer;
	}

	protected override map(length: number, protection: number, offset: number): RegionMapping | number {
		const { bound } = this.opened;
		const index = Math.floor(offset / REGION_STRIDE);
		const start = offset % REGION_STRIDE;
		if (index > VFIO_PCI_BAR5_REGION_INDEX || !this.opened.canMap(index)) return -EINVAL;
		const pages = Math.ceil((this.opened.fn.bar(index)?.size ?? 0) / PAGE_SIZE);
		if (start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE > pages * PAGE_SIZE) return -EINVAL;
		this.opened.claim(index);
		return new RegionMapping(this, new BarMemory(bound, index, start), length, protection);
	}
}
