/**
 * A descriptor of an open vfio-pci device.
 *
 * @module
 */
import { EINVAL, ENOTTY, EPERM } from "../../../core/uapi/errno.ts";
import { MAP_SHARED, PROT_EXEC } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_DEVICE_BIND_IOMMUFD,
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
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import { RegionMapping } from "../region-mapping.ts";
import { readBindRequest } from "../vfio/cdev-file.ts";
import { deviceFeature } from "../vfio/device-feature.ts";
import { REGION_STRIDE } from "../vfio/region-offset.ts";
import { BarMemory } from "./bar-memory.ts";
import { getInfo, getIrqInfo, getRegionInfo } from "./device-info.ts";
import { getHotResetInfo, hotReset } from "./hot-reset.ts";
import type { OpenDevice } from "./open-device.ts";
import { setIrqs } from "./set-irqs.ts";

const PAGE_SIZE = 4096;

/** What VFIO_GROUP_GET_DEVICE_FD returns a descriptor of. All of a device share its one open instance. */
export class DeviceFile extends OpenFile {
	readonly opened: OpenDevice;

	constructor(opened: OpenDevice) {
		super("anon_inode:[vfio-device]");
		this.opened = opened;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
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
			case VFIO_DEVICE_BIND_IOMMUFD:
				return this.opened.bound.options.iommufd ? refuseBind(argument, this.opened.bound.options.version) : -ENOTTY;
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

	override mmap(
		_process: SimProcess,
		length: number,
		protection: number,
		flags: number,
		offset: number,
	): RegionMapping | number {
		const { bound } = this.opened;
		// Anonymous files are noexec since 6.17, and that is checked before the driver is asked.
		if ((protection & PROT_EXEC) !== 0 && bound.options.version !== "6.12") return -EPERM;
		if ((flags & MAP_SHARED) === 0) return -EINVAL;
		const index = Math.floor(offset / REGION_STRIDE);
		const start = offset % REGION_STRIDE;
		if (index > VFIO_PCI_BAR5_REGION_INDEX || !this.opened.canMap(index)) return -EINVAL;
		const pages = Math.ceil((this.opened.fn.bar(index)?.size ?? 0) / PAGE_SIZE);
		if (start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE > pages * PAGE_SIZE) return -EINVAL;
		this.opened.claim(index);
		return new RegionMapping(this, new BarMemory(bound, index, start), length, protection);
	}

	override fdinfo(): string {
		const { bound } = this.opened;
		return bound.options.version === "6.12" ? "" : `vfio-device-syspath: ${bound.device.syspath}\n`;
	}
}

/** A descriptor from a group is bound already, by other means: whatever the arguments, it is refused. */
function refuseBind(argument: IoctlArgument, version: "6.12" | "7.2"): number {
	const request = readBindRequest(argument, version);
	return typeof request === "number" ? request : -EINVAL;
}
