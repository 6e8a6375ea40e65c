/**
 * A descriptor of an open VFIO device: what VFIO's core does with it, whichever driver the device has.
 *
 * @module
 */
import { EINVAL, ENOTTY, EPERM } from "../../../core/uapi/errno.ts";
import { MAP_SHARED, PROT_EXEC } from "../../../core/uapi/fcntl.ts";
import { VFIO_DEVICE_BIND_IOMMUFD } from "../../../core/uapi/vfio.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { RegionMapping } from "../region-mapping.ts";
import { readBindRequest } from "./bind-request.ts";
import type { RegisteredDevice } from "./registered-device.ts";

/** What VFIO_GROUP_GET_DEVICE_FD returns a descriptor of, and what is behind a bound character device. */
export abstract class VfioDeviceFile extends OpenFile {
	readonly #record: RegisteredDevice;

	constructor(record: RegisteredDevice) {
		super("anon_inode:[vfio-device]");
		this.#record = record;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		return request === VFIO_DEVICE_BIND_IOMMUFD ? this.#refuseBind(argument) : this.request(process, request, argument);
	}

	override mmap(
		_process: SimProcess,
		length: number,
		protection: number,
		flags: number,
		offset: number,
	): RegionMapping | number {
		// Anonymous files are noexec since 6.17, and that is checked before the driver is asked.
		if ((protection & PROT_EXEC) !== 0 && this.#record.version !== "6.12") return -EPERM;
		if ((flags & MAP_SHARED) === 0) return -EINVAL;
		return this.map(length, protection, offset);
	}

	override fdinfo(): string {
		return this.#record.fdinfo;
	}

	/** All other requests. @returns -ENOTTY for one that the driver does not know */
	protected abstract request(process: SimProcess, request: number, argument: IoctlArgument): number;
	/** A shared mapping of a part of a region. @param offset in the file */
	protected abstract map(length: number, protection: number, offset: number): RegionMapping | number;

	/** A descriptor from a group is bound already, by other means: whatever the arguments, it is refused. */
	#refuseBind(argument: IoctlArgument): number {
		const { version, hasCharacterDevices } = this.#record;
		if (!hasCharacterDevices) return -ENOTTY;
		const request = readBindRequest(argument, version);
		return typeof request === "number" ? request : -EINVAL;
	}
}
