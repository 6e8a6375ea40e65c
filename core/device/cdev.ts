/**
 * A device's own file, `/dev/vfio/devices/vfio<N>`: where it is, and binding it to an iommufd.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { descriptorTarget, wrongDescriptor } from "../host/descriptor.ts";
import type { DeviceLocation } from "../host/location.ts";
import { explainDeviceNode, explainNotBound } from "../host/node-errors.ts";
import { readingIfThere, readNames, readText } from "../host/sysfs.ts";
import { uuidBytes } from "../host/uuid.ts";
import { explainGroupBlocked } from "../host/viability.ts";
import type { Iommufd } from "../iommu/iommufd.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { EACCES, EBUSY, EINVAL, EPERM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_RDWR } from "../uapi/fcntl.ts";
import {
	VFIO_DEVICE_BIND_FLAG_TOKEN,
	VFIO_DEVICE_BIND_IOMMUFD,
	VFIO_DEVICE_GET_INFO,
	vfio_device_bind_iommufd,
	vfio_device_info,
} from "../uapi/vfio.ts";

/** Opened files have flags and more behind a blank line; this is VFIO's, in newer kernels: the device's directory. */
const SYSFS_PATH = /^vfio-device-syspath:\s*(\S+)/m;

/**
 * The character device's name, such as `vfio3`.
 *
 * @returns undefined when the kernel has no character devices, or no VFIO driver has the device
 */
export function cdevName(kernel: Kernel, { path }: DeviceLocation): string | undefined {
	const name = readNames(kernel, `${path}/vfio-dev`)?.[0];
	if (name === undefined) return undefined;
	// Without CONFIG_VFIO_DEVICE_CDEV there is the directory, and nothing to open.
	const number = readingIfThere(path, () => kernel.readFile(`${path}/vfio-dev/${name}/dev`));
	return number && number.length > 0 ? name : undefined;
}

/**
 * Opens the character device.
 *
 * @returns its descriptor and its node
 * @throws VfioError `not-bound`, `no-vfio`, `no-permission`, `kernel`
 */
export function openCdev(
	kernel: Kernel,
	location: DeviceLocation,
	group: number,
): { readonly fd: number; readonly node: string } {
	const { name, path } = location;
	const cdev = cdevName(kernel, location);
	if (cdev === undefined) {
		if (readNames(kernel, `${path}/vfio-dev`) === undefined) throw explainNotBound(kernel, group, name, undefined);
		throw new VfioError("no-vfio", `Cannot open ${name}: this kernel has no character devices for VFIO`, {
			device: name,
			remedy: [
				"Leave iommufd out: the device opens through its IOMMU group.",
				"Or use a kernel with CONFIG_VFIO_DEVICE_CDEV.",
			],
		});
	}
	const node = `/dev/vfio/devices/${cdev}`;
	try {
		return { fd: retry(() => kernel.open(node, O_RDWR | O_CLOEXEC)), node };
	} catch (error) {
		throw explainDeviceNode(node, name, error);
	}
}

/**
 * Looks whether a descriptor is a character device that nobody has bound: the kernel answers nothing about such a device,
 * and that with EINVAL.
 *
 * @throws VfioError `invalid-argument`
 */
export function requireCdev(kernel: Kernel, fd: number): void {
	const info = vfio_device_info.create();
	info.argsz = vfio_device_info.size;
	const remedy = "Pass one that was opened from /dev/vfio/devices, and not bound to an iommufd yet.";
	try {
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_GET_INFO, info.bytes));
	} catch (cause) {
		const target = descriptorTarget(kernel, fd);
		// A container answers any request with EINVAL, too, until it has an IOMMU.
		if (isErrno(cause, EINVAL) && target !== "/dev/vfio/vfio") return;
		throw wrongDescriptor(kernel, fd, "a device", remedy, cause);
	}
	throw new VfioError(
		"invalid-argument",
		`Cannot use descriptor ${fd} as a device: it is bound, or opened through its group`,
		{
			remedy: [remedy],
		},
	);
}

/**
 * Where the device behind a passed descriptor is.
 *
 * @param name what the caller calls it; what the kernel says, or `descriptor N`, when left out
 * @returns `path` is undefined when neither procfs nor sysfs says it
 */
export function locateCdev(
	kernel: Kernel,
	fd: number,
	name: string | undefined,
): { readonly name: string; readonly path: string | undefined } {
	const path = pathFromInfo(kernel, fd) ?? pathFromNode(kernel, fd);
	return { name: name ?? path?.split("/").at(-1) ?? `descriptor ${fd}`, path };
}

function pathFromInfo(kernel: Kernel, fd: number): string | undefined {
	try {
		const path = SYSFS_PATH.exec(readText(kernel, `/proc/self/fdinfo/${fd}`))?.[1];
		return path === undefined || path.startsWith("/sys/") ? path : `/sys${path}`;
	} catch {
		return undefined;
	}
}

/** `/sys/class/vfio-dev/vfio3` leads to `…/0000:05:00.0/vfio-dev/vfio3`. */
function pathFromNode(kernel: Kernel, fd: number): string | undefined {
	const cdev = /^\/dev\/vfio\/devices\/(\w+)$/.exec(descriptorTarget(kernel, fd) ?? "")?.[1];
	if (cdev === undefined) return undefined;
	try {
		const link = retry(() => kernel.readLink(`/sys/class/vfio-dev/${cdev}`));
		const device = /^(?:\.\.\/)*(.+)\/vfio-dev\/\w+$/.exec(link)?.[1];
		return device === undefined ? undefined : `/sys/${device.replace(/^\/?(sys\/)?/, "")}`;
	} catch {
		return undefined;
	}
}

/** What {@link bindCdev} needs. */
export interface Binding {
	readonly name: string;
	readonly fd: number;
	readonly groupId: number | undefined;
	/** The UUID that a virtual function's physical function was given. */
	readonly vfToken: string | undefined;
}

/**
 * `VFIO_DEVICE_BIND_IOMMUFD`: the device belongs to the iommufd until its file is closed. Its DMA goes nowhere yet.
 *
 * @returns its id in the iommufd
 * @throws VfioError `group-not-viable`, `device-in-use`, `no-permission`, `unsupported-iommu`, `invalid-argument`, `kernel`
 */
export function bindCdev(iommufd: Iommufd, binding: Binding): number {
	const { kernel } = iommufd;
	const { fd, vfToken } = binding;
	const request = vfio_device_bind_iommufd.create();
	// Older kernels refuse what is behind the id, unless it is 0.
	request.argsz = vfToken === undefined ? 16 : request.bytes.length;
	request.iommufd = iommufd.fd;
	if (vfToken !== undefined) {
		const scratch = iommufd.scratch();
		scratch.bytes.set(uuidBytes(vfToken));
		request.flags = VFIO_DEVICE_BIND_FLAG_TOKEN;
		request.token_uuid_ptr = scratch.address;
	}
	try {
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, request.bytes));
	} catch (cause) {
		throw explainBind(kernel, binding, cause);
	}
	return request.out_devid;
}

function explainBind(kernel: Kernel, { name, fd, groupId, vfToken }: Binding, cause: unknown): VfioError {
	const details = { device: name, cause };
	const failed = (code: VfioError["code"], reason: string, ...remedy: string[]) =>
		new VfioError(code, `Cannot open ${name}: ${reason}`, { ...details, remedy });
	if (isErrno(cause, EACCES))
		return failed(
			"no-permission",
			"a virtual function needs the token of its physical one",
			"Pass the UUID that the owner of the physical function has set, as vfToken.",
		);
	if (isErrno(cause, EPERM, EBUSY)) {
		const blocked = explainGroupBlocked(kernel, groupId, name, cause);
		if (blocked) return blocked;
		if (isErrno(cause, EBUSY))
			return failed(
				"device-in-use",
				"it is in use through its IOMMU group, or a device of its group is with another owner",
				`sudo fuser -v /dev/vfio/${groupId ?? "*"} /dev/vfio/devices/* shows which process.`,
			);
		return failed(
			"device-in-use",
			"a device of its IOMMU group is with another iommufd, or its IOMMU does not isolate interrupts",
			"sudo fuser -v /dev/vfio/devices/* shows which process has the other device.",
			"Enable interrupt remapping (x2APIC, VT-d interrupt remapping) in the firmware setup.",
			"Or accept that the device can forge interrupts: echo Y | sudo tee /sys/module/iommufd/parameters/allow_unsafe_interrupts",
		);
	}
	if (isErrno(cause, EINVAL) && vfToken !== undefined)
		return failed(
			"invalid-argument",
			"the kernel takes no VF token for it with its character device",
			"Open it through its IOMMU group, by leaving iommufd out.",
		);
	if (isErrno(cause, EINVAL))
		return failed(
			"device-in-use",
			"another process has bound it, or its IOMMU does not keep DMA coherent with the caches",
			`sudo fuser -v ${descriptorTarget(kernel, fd) ?? "/dev/vfio/devices/*"} shows which process.`,
		);
	return failed("kernel", `iommufd does not take it: ${(cause as Error).message}`);
}
