/**
 * The argument of VFIO_DEVICE_BIND_IOMMUFD.
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import { vfio_device_bind_iommufd } from "../../../core/uapi/vfio.ts";
import type { IoctlArgument } from "../file.ts";
import { copyStruct } from "../iommufd/user-struct.ts";

/** Bytes of the structure as it was first. */
export const BIND_MINIMUM = vfio_device_bind_iommufd.offsets.token_uuid_ptr;

/** A copy of the structure, of which newer kernels check the tail that they do not know. @returns -errno */
export function readBindRequest(argument: IoctlArgument, version: "6.12" | "7.2"): Uint8Array | number {
	const header = argument.read(BIND_MINIMUM);
	if (!header) return -EFAULT;
	const argsz = new DataView(header.buffer, header.byteOffset).getUint32(0, true);
	if (argsz < BIND_MINIMUM) return -EINVAL;
	return copyStruct(argument, version === "6.12" ? BIND_MINIMUM : argsz, vfio_device_bind_iommufd.size);
}
