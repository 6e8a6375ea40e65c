/**
 * Mediated devices, their types and parents in sysfs (Documentation/driver-api/vfio-mediated-device.rst).
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import { type FileSystem, relativeLink } from "../filesystem.ts";
import {
	addBusDirectory,
	addDeviceLinks,
	addDriverDirectory,
	addDriverLinks,
	removeDriverLinks,
} from "../sysfs/bus.ts";
import { parseNumber } from "../text.ts";
import type { MdevBus, MdevBusListener } from "./bus.ts";
import type { MdevDevice } from "./mdev-device.ts";
import type { MdevParent } from "./parent.ts";

const PARENTS = "/sys/class/mdev_bus";

/** Makes the directories of the bus. */
export function addMdevBus(files: FileSystem, bus: MdevBus): void {
	addBusDirectory(files, bus);
	files.directory(PARENTS);
}

/** Keeps sysfs as the bus is. */
export function mdevSysfs(files: FileSystem, bus: () => MdevBus): MdevBusListener {
	return {
		parentAdded: (parent) => addParent(files, bus(), parent),
		driverAdded: (driver) => addDriverDirectory(files, bus(), driver),
		deviceAdded: (device) => addDevice(files, bus(), device),
		deviceLeaving: (device) => removeDeviceFiles(files, device),
		deviceRemoved(device) {
			removeDeviceFiles(files, device);
			files.remove(device.syspath);
		},
		bound: (device, driver) => addDriverLinks(files, "mdev", device, driver),
		unbinding: (device, driver) => removeDriverLinks(files, "mdev", device, driver),
	};
}

function addParent(files: FileSystem, bus: MdevBus, parent: MdevParent): void {
	files.directory(parent.syspath);
	link(files, `${PARENTS}/${parent.name}`, parent.syspath);
	for (const type of parent.types) {
		const path = parent.typePath(type);
		files.directory(`${path}/devices`);
		files.attribute(`${path}/create`, { store: (text) => bus.create(parent, type, text) });
		files.text(`${path}/device_api`, type.api ?? "vfio-pci");
		files.text(`${path}/name`, type.title ?? `${parent.driver.name}-${type.name}`);
		files.attribute(`${path}/available_instances`, { show: () => `${parent.available(type)}\n` });
		if (type.description !== undefined) files.text(`${path}/description`, type.description);
	}
}

function addDevice(files: FileSystem, bus: MdevBus, device: MdevDevice): void {
	const { parent, type, syspath } = device;
	files.directory(syspath);
	addDeviceLinks(files, bus.name, device);
	link(files, `${syspath}/mdev_type`, parent.typePath(type));
	link(files, `${parent.typePath(type)}/devices/${device.name}`, syspath);
	files.attribute(`${syspath}/remove`, {
		store(text) {
			const value = parseNumber(text);
			if (value === undefined) return -EINVAL;
			return value === 0 ? 0 : bus.remove(device);
		},
	});
}

/** What goes before the driver does, so that nobody removes a device twice. */
function removeDeviceFiles(files: FileSystem, device: MdevDevice): void {
	files.remove(`${device.syspath}/remove`);
	files.remove(`${device.syspath}/mdev_type`);
	files.remove(`${device.parent.typePath(device.type)}/devices/${device.name}`);
	files.remove(`/sys/bus/mdev/devices/${device.name}`);
}

function link(files: FileSystem, from: string, to: string): void {
	files.link(from, relativeLink(from, to));
}
