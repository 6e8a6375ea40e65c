/**
 * `VFIO_DEVICE_IOEVENTFD`.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { AccessWidth, Kernel } from "../kernel.ts";
import { retry } from "../retry.ts";
import { VFIO_DEVICE_IOEVENTFD, vfio_device_ioeventfd } from "../uapi/vfio.ts";
import type { NamedDevice } from "./kind.ts";
import { type Region, regionName } from "./region.ts";

/**
 * Has the kernel write a register whenever an eventfd is signalled.
 *
 * @param offset bytes in the region
 * @param fd -1: no more
 * @throws VfioError `kernel`
 */
export function setIoeventfd(
	kernel: Kernel,
	deviceFd: number,
	device: NamedDevice,
	region: Region,
	offset: number,
	width: AccessWidth,
	value: number,
	fd: number,
): void {
	const request = vfio_device_ioeventfd.create();
	request.argsz = vfio_device_ioeventfd.size;
	// The flag for a size has the size's value.
	request.flags = width;
	request.offset = BigInt(region.offset + offset);
	request.data = BigInt(value >>> 0);
	request.fd = fd;
	try {
		retry(() => kernel.ioctl(deviceFd, VFIO_DEVICE_IOEVENTFD, request.bytes));
	} catch (cause) {
		const where = `0x${offset.toString(16)} of ${regionName(region.index, device.kind)} of ${device.name}`;
		throw new VfioError("kernel", `Cannot have an eventfd write ${where}: ${(cause as Error).message}`, {
			device: device.name,
			cause,
		});
	}
}
