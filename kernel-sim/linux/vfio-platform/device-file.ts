/**
 * A descriptor of an open vfio-platform device.
 *
 * @module
 */
import { EINVAL, ENOTTY, EPERM } from "../../../core/uapi/errno.ts";
import { MAP_SHARED, PROT_EXEC } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_DEVICE_FEATURE,
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_IRQ_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_DEVICE_RESET,
	VFIO_DEVICE_SET_IRQS,
} from "../../../core/uapi/vfio.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { RegionMapping } from "../region-mapping.ts";
import { deviceFeature } from "../vfio/device-feature.ts";
import { getInfo, getIrqInfo, getRegionInfo } from "./device-info.ts";
import type { OpenPlatformDevice } from "./open-device.ts";
import { setIrqs } from "./set-irqs.ts";

/** What VFIO_GROUP_GET_DEVICE_FD returns a descriptor of. All of a device share its one open instance. */
export class PlatformDeviceFile extends OpenFile {
	readonly opened: OpenPlatformDevice;

	constructor(opened: OpenPlatformDevice) {
		super("anon_inode:[vfio-device]");
		this.opened = opened;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
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

	override mmap(
		_process: SimProcess,
		length: number,
		protection: number,
		flags: number,
		offset: number,
	): RegionMapping | number {
		// Anonymous files are noexec since 6.17, and that is checked before the driver is asked.
		if ((protection & PROT_EXEC) !== 0 && this.opened.bound.version !== "6.12") return -EPERM;
		if ((flags & MAP_SHARED) === 0) return -EINVAL;
		const region = this.opened.regions.map(offset, length, protection);
		return typeof region === "number" ? region : new RegionMapping(this, region, length, protection);
	}

	override fdinfo(): string {
		const { bound } = this.opened;
		return bound.version === "6.12" ? "" : `vfio-device-syspath: ${bound.device.syspath}\n`;
	}
}
