/**
 * The opened character device of a VFIO device: /dev/vfio/devices/vfioX.
 *
 * @module
 */
import { EBADF, EBADFD, EFAULT, EINVAL, ENODEV, EOPNOTSUPP } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_ATTACH_IOMMUFD_PT,
	VFIO_DEVICE_BIND_IOMMUFD,
	VFIO_DEVICE_DETACH_IOMMUFD_PT,
	vfio_device_attach_iommufd_pt,
	vfio_device_bind_iommufd,
	vfio_device_detach_iommufd_pt,
} from "../../../core/uapi/vfio.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import { IommufdFile } from "../iommufd/file.ts";
import type { SimProcess } from "../process.ts";
import type { RegionMapping } from "../region-mapping.ts";
import { UUID_SIZE, uuidText } from "../uuid.ts";
import { BIND_MINIMUM, readBindRequest } from "./bind-request.ts";
import type { RegisteredDevice } from "./registered-device.ts";

/** Bytes of the structures of the requests below as they were first. */
const ATTACH_MINIMUM = vfio_device_attach_iommufd_pt.offsets.pasid;
const DETACH_MINIMUM = vfio_device_detach_iommufd_pt.offsets.pasid;
/** VFIO_DEVICE_BIND_FLAG_TOKEN, VFIO_DEVICE_ATTACH_PASID and VFIO_DEVICE_DETACH_PASID. */
const NEWER_FLAG = 1;

/** Anybody may open it often; one of these files can be bound to an open /dev/iommu, and only that one has the device. */
export class CdevFile extends OpenFile {
	readonly device: RegisteredDevice;
	/** The device, once it is bound. */
	#bound: OpenFile | undefined;

	constructor(path: string, device: RegisteredDevice) {
		super(path);
		this.device = device;
		this.coherent = device.group.coherent;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		if (request === VFIO_DEVICE_BIND_IOMMUFD) return this.#bind(process, argument);
		if (!this.#bound) return -EINVAL;
		switch (request) {
			case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
				return this.#attach(argument);
			case VFIO_DEVICE_DETACH_IOMMUFD_PT:
				return this.#detach(argument);
			default:
				return this.#bound.ioctl(process, request, argument);
		}
	}

	override pread(process: SimProcess, buffer: Uint8Array, offset: number): number {
		return this.#bound?.pread(process, buffer, offset) ?? -EINVAL;
	}

	override pwrite(process: SimProcess, buffer: Uint8Array, offset: number): number {
		return this.#bound?.pwrite(process, buffer, offset) ?? -EINVAL;
	}

	override mmap(
		process: SimProcess,
		length: number,
		protection: number,
		flags: number,
		offset: number,
	): RegionMapping | number {
		return this.#bound?.mmap(process, length, protection, flags, offset) ?? -EINVAL;
	}

	override fdinfo(): string {
		return this.device.fdinfo;
	}

	/** Regions that are still mapped keep the device: they hold what this file was bound to. */
	protected override release(): void {
		this.#bound?.unreference();
	}

	#bind(process: SimProcess, argument: IoctlArgument): number {
		const newer = this.device.version !== "6.12";
		const request = readBindRequest(argument, this.device.version);
		if (typeof request === "number") return request;
		const view = vfio_device_bind_iommufd.view(request);
		if ((view.flags & (newer ? ~NEWER_FLAG : ~0)) !== 0 || view.iommufd < 0) return -EINVAL;
		const free = this.device.mayBind(this.#bound !== undefined);
		if (free < 0) return free;
		const token = this.#token(process, view.flags, view.token_uuid_ptr);
		if (typeof token === "number") return token;
		const allowed = newer ? (this.device.ops.checkToken?.(token) ?? (token === undefined ? 0 : -EINVAL)) : 0;
		if (allowed < 0) return allowed;
		const file = process.file(view.iommufd);
		if (!file) return -EBADF;
		if (!(file instanceof IommufdFile)) return -EBADFD;
		const bound = this.device.bind(file);
		if (typeof bound === "number") return bound;
		view.out_devid = this.device.binding?.id ?? 0;
		if (!argument.write(view.bytes.subarray(0, BIND_MINIMUM))) {
			bound.reference().unreference();
			return -EFAULT;
		}
		bound.flags = this.flags;
		this.#bound = bound.reference();
		return 0;
	}

	/** The token that the caller gives, as text; undefined when none. */
	#token(process: SimProcess, flags: number, address: bigint): string | undefined | number {
		if ((flags & NEWER_FLAG) === 0) return undefined;
		const bytes = process.memory.read(address, UUID_SIZE);
		if (!bytes) return -EFAULT;
		return uuidText(bytes);
	}

	#attach(argument: IoctlArgument): number {
		const request = this.#readPasid(argument, vfio_device_attach_iommufd_pt.size, ATTACH_MINIMUM);
		if (typeof request === "number") return request;
		const { binding } = this.device;
		if (!binding) return -ENODEV;
		const view = vfio_device_attach_iommufd_pt.view(request.bytes);
		if (request.pasid) return binding.attachPasid?.(view.pt_id, view.pasid) ?? -EOPNOTSUPP;
		const attached = binding.attach(view.pt_id);
		if (attached < 0) return attached;
		view.pt_id = attached;
		if (argument.write(view.bytes.subarray(8, 12), 8)) return 0;
		binding.detach();
		return -EFAULT;
	}

	#detach(argument: IoctlArgument): number {
		const request = this.#readPasid(argument, vfio_device_detach_iommufd_pt.size, DETACH_MINIMUM);
		if (typeof request === "number") return request;
		const { binding } = this.device;
		if (!request.pasid) binding?.detach();
		// Nothing was ever attached to one: what can be attached fails.
		else if (!binding?.attachPasid) return -EOPNOTSUPP;
		return 0;
	}

	/** A structure whose last field is a process address space id, which 6.12 does not know. */
	#readPasid(argument: IoctlArgument, size: number, minimum: number): { bytes: Uint8Array; pasid: boolean } | number {
		const header = argument.read(minimum);
		if (!header) return -EFAULT;
		const bytes = new Uint8Array(size);
		bytes.set(header);
		const words = new DataView(bytes.buffer);
		const [argsz, flags] = [words.getUint32(0, true), words.getUint32(4, true)];
		const known = this.device.version === "6.12" ? 0 : NEWER_FLAG;
		if (argsz < minimum || (flags & ~known) !== 0) return -EINVAL;
		if (flags === 0) return { bytes, pasid: false };
		if (argsz < size) return -EINVAL;
		const field = argument.read(4, minimum);
		if (!field) return -EFAULT;
		bytes.set(field, minimum);
		return { bytes, pasid: true };
	}
}
