/**
 * A descriptor of an open vfio-platform device.
 *
 * @module
 */
import { ENOTTY } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FEATURE,
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_DEVICE_RESET,
	VFIO_DEVICE_SET_IRQS,
} from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { RegionMapping } from "../region-mapping.ts";
import { deviceFeature } from "../vfio/device-feature.ts";
import { VfioDeviceFile } from "../vfio/device-file.ts";
import type { RegisteredDevice } from "../vfio/registered-device.ts";
import { getInfo, getIrqInfo, getRegionInfo } from "./device-info.ts";
import type { OpenPlatformDevice } from "./open-device.ts";
import { setIrqs } from "./set-irqs.ts";

/** A descriptor of it. All of a device share its one open instance. */
export class PlatformDeviceFile extends VfioDeviceFile {
	readonly opened: OpenPlatformDevice;

	constructor(record: RegisteredDevice, opened: OpenPlatformDevice) {
		super(record);
		this.opened = opened;
	}

	protected override request(process: SimProcess, request: number, argument: IoctlArgument): number {
		switch (request) {
			case VFIO_DEVICE_GET_INFO:
				return getInfo(this.opened, argument);
			case VFIO_DEVICE_GET_REGION_INFO:
				return getRegionInfo(this.opened, argument);
			case VFIO_DEVICE_GET_IRQ_INFO:
				return getIrqInfo(this.opened, argument);
			case VFIO_DEVICE_SET_IRQS:
				return setIrqs(this.opened.irqs, process, argument);
			case VFIO_DEVICE_RESET:
				return this.opened.reset();
			case VFIO_DEVICE_FEATURE:
				return deviceFeature({}, process, argument);
			default:
				return -ENOTTY;
		}
	}

	override pread(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		return this.opened.regions.read(offset, buffer);
	}

	override pwrite(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		return this.opened.regions.write(offset, buffer);
	}

	protected override map(length: number, protection: number, offset: number): RegionMapping | number {
		const region = this.opened.regions.map(offset, length, protection);
		return typeof region === "number" ? region : new RegionMapping(this, region, length, protection);
	}
}
