/**
 * Opening a device by its character device and iommufd: `/dev/vfio/devices/vfio<N>`, BIND, ATTACH.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { type DeviceLocation, groupAt } from "../host/location.ts";
import type { BoundDevice } from "../iommu/bound-device.ts";
import { Ioas, type IoasAttachment } from "../iommu/ioas.ts";
import { Iommufd } from "../iommu/iommufd.ts";
import type { Kernel } from "../kernel.ts";
import type { Releases } from "../release.ts";
import { bindCdev, locateCdev, openCdev, requireCdev } from "./cdev.ts";
import type { DeviceFile } from "./device-file.ts";
import { groupElsewhere } from "./open-by-group.ts";
import { type DeviceIdentity, openDevice, openDevices } from "./open-devices.ts";
import type { OpenOptions, PassedDevice } from "./open-options.ts";

/**
 * @param releases takes what gives the device back
 * @throws VfioError as {@link VfioDevice.open}
 */
export function openByCdev(
	kernel: Kernel,
	source: DeviceLocation | PassedDevice,
	options: OpenOptions,
	releases: Releases,
): DeviceFile {
	const passed = "fd" in source;
	if (passed) requireCdev(kernel, source.fd);
	const { name, path } = passed ? locateCdev(kernel, source.fd, source.name) : source;
	if (openDevice(kernel, name))
		throw new VfioError("already-attached", `Cannot open ${name}: it is attached already`, { device: name });
	const groupId = passed ? groupOfPassed(kernel, name, path) : groupAt(kernel, source);
	const sibling = siblingOf(kernel, groupId);
	const iommufd = chooseIommufd(kernel, name, groupId, sibling, options, releases);

	let attachment: IoasAttachment | undefined;
	releases.defer(() => attachment?.[Symbol.dispose]());
	const node = passed ? undefined : openCdev(kernel, source, groupId as number);
	const fd = passed ? source.fd : (node?.fd as number);
	let ours = !passed;
	releases.defer(() => {
		if (ours) kernel.close(fd);
	});
	releases.use(options.addressSpace?.announce(fd, name) ?? { [Symbol.dispose]: () => {} });
	const devid = bindCdev(iommufd, { name, fd, groupId, vfToken: options.vfToken });
	// A descriptor that was passed is ours once it is bound: the kernel unbinds it with its last close only.
	ours = true;
	const bound: BoundDevice = { name, fd, devid, groupId };
	const { ioas, place } = choosePlace(iommufd, bound, sibling, options);
	attachment = place;
	releases.defer(() => place.detach());
	return {
		identity: { name, groupId, bound: { iommufd, devid, ioas }, discardAllowed: options.discardAllowed ?? false },
		fd,
		iommu: ioas,
		coherent: () => iommufd.hardware(devid)?.enforcesSnooping ?? true,
		group: undefined,
		container: undefined,
		node: node?.node ?? `descriptor ${fd}`,
	};
}

/** A process in a place of its own may see neither procfs nor sysfs, and opens what it was passed all the same. */
function groupOfPassed(kernel: Kernel, name: string, path: string | undefined): number | undefined {
	if (path === undefined) return undefined;
	try {
		return groupAt(kernel, { name, path, bus: undefined });
	} catch {
		return undefined;
	}
}

function siblingOf(kernel: Kernel, groupId: number | undefined): DeviceIdentity | undefined {
	if (groupId === undefined) return undefined;
	return [...openDevices(kernel)].find((device) => device.groupId === groupId);
}

/** The one that is asked for; else that of the address space, of the device's group, or a new one. */
function chooseIommufd(
	kernel: Kernel,
	name: string,
	groupId: number | undefined,
	sibling: DeviceIdentity | undefined,
	options: OpenOptions,
	releases: Releases,
): Iommufd {
	const { ioas, addressSpace } = options;
	const wanted = options.iommufd ?? ioas?.iommufd ?? addressSpace?.iommufd;
	if (ioas && wanted !== ioas.iommufd)
		throw new VfioError("invalid-argument", `Cannot open ${name}: the address space is of another iommufd`, {
			device: name,
		});
	if (sibling && !sibling.bound)
		throw new VfioError(
			"device-in-use",
			`Cannot open ${name}: ${sibling.name} of its IOMMU group ${groupId} is open through the group, which keeps the group from iommufd`,
			{ device: name, remedy: ["Open all devices of a group in the same way."] },
		);
	const present = sibling?.bound?.iommufd;
	if (wanted && present && wanted !== present) throw groupElsewhere(name, groupId as number, sibling?.name);
	const shared = wanted ?? present;
	if (!shared) return releases.use(Iommufd.open(kernel));
	releases.use(shared.retain());
	return shared;
}

interface Place {
	readonly ioas: Ioas;
	readonly place: IoasAttachment;
}

/** Where the group is already; else what is asked for, or a new address space. */
function choosePlace(
	iommufd: Iommufd,
	device: BoundDevice,
	sibling: DeviceIdentity | undefined,
	{ ioas: wanted, addressSpace }: OpenOptions,
): Place {
	const present = sibling?.bound?.ioas;
	if (present) {
		const elsewhere = wanted ? wanted !== present : addressSpace?.ioases.includes(present) === false;
		if (elsewhere) throw groupElsewhere(device.name, device.groupId as number, sibling?.name);
		return { ioas: present, place: present.attach(device) };
	}
	if (wanted) return { ioas: wanted, place: wanted.attach(device) };
	if (addressSpace) return addressSpace.placeBound(iommufd, device);
	const ioas = Ioas.allocate(iommufd);
	try {
		return { ioas, place: ioas.attach(device) };
	} finally {
		ioas[Symbol.dispose](); // the device keeps it from here on
	}
}
