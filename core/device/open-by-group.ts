/**
 * Opening a device through its IOMMU group: `/dev/vfio/<group>`, a container, `VFIO_GROUP_GET_DEVICE_FD`.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { type DeviceLocation, groupAt } from "../host/location.ts";
import type { Kernel } from "../kernel.ts";
import type { Releases } from "../release.ts";
import { Container } from "./container.ts";
import type { DeviceFile } from "./device-file.ts";
import { Group } from "./group.ts";
import { openDevices } from "./open-devices.ts";
import type { OpenOptions } from "./open-options.ts";

/**
 * @param releases takes what gives the device back
 * @throws VfioError as {@link VfioDevice.open}
 */
export function openByGroup(
	kernel: Kernel,
	location: DeviceLocation,
	options: OpenOptions,
	releases: Releases,
): DeviceFile {
	const { name } = location;
	const id = options.group?.id ?? groupAt(kernel, location);
	const bound = [...openDevices(kernel)].find((device) => device.groupId === id && device.bound);
	if (bound)
		throw new VfioError(
			"device-in-use",
			`Cannot open ${name}: ${bound.name} of its IOMMU group ${id} is with iommufd, which keeps the group from containers`,
			{ device: name, remedy: ["Open all devices of a group in the same way."] },
		);
	const group = Group.acquire(kernel, id, name, options.noIommu ? { noIommu: true } : {});
	releases.defer(() => group.release());
	const container = joinContainer(group, name, options);
	const fd = group.openDevice(name, options.vfToken);
	releases.defer(() => group.closeDevice(name, fd));
	return {
		identity: { name, groupId: group.id, bound: undefined, discardAllowed: options.discardAllowed ?? false },
		fd,
		iommu: container.iommu,
		coherent: () => container.coherent,
		group,
		container,
		node: group.node,
	};
}

function joinContainer(group: Group, name: string, options: OpenOptions): Container {
	const wanted = options.container;
	const present = group.container;
	if (present) {
		const elsewhere = wanted ? wanted !== present : options.addressSpace?.containers.includes(present) === false;
		if (!elsewhere) return present;
		throw groupElsewhere(name, group.id, [...group.devices][0]);
	}
	if (wanted) {
		group.join(wanted, name);
		return wanted;
	}
	if (options.addressSpace) return options.addressSpace.place(group, name);
	const container = Container.open(group.kernel);
	try {
		group.join(container, name);
		return container;
	} finally {
		container[Symbol.dispose](); // the group keeps it from here on
	}
}

/** The IOMMU cannot tell the devices of a group apart, so that it cannot give them different memory. */
export function groupElsewhere(device: string, group: number, other = "a device"): VfioError {
	return new VfioError(
		"device-in-use",
		`Cannot open ${device}: ${other} of its IOMMU group ${group} is open in another address space of this process`,
		{ device, remedy: ["Give all devices of a group the same container or address space."] },
	);
}
