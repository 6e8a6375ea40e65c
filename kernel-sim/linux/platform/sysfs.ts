/**
 * The directory of a platform device in sysfs.
 *
 * @module
 */
import { type FileSystem, relativeLink } from "../filesystem.ts";
import { addDeviceLinks, driverOverride } from "../sysfs/bus.ts";
import type { PlatformBusDevice } from "./device.ts";
import { nodePath } from "./firmware-tree.ts";

/** Makes the directory of a device, the link to it on its bus, and what is in it. */
export function addPlatformDirectory(files: FileSystem, device: PlatformBusDevice): void {
	const { syspath, hardware } = device;
	files.directory(syspath);
	addDeviceLinks(files, "platform", device);
	files.attribute(`${syspath}/driver_override`, driverOverride(device));
	files.attribute(`${syspath}/modalias`, { show: () => `${modalias(device)}\n` });
	const { node } = hardware.description;
	if (node) files.link(`${syspath}/of_node`, relativeLink(`${syspath}/of_node`, nodePath(node)));
}

/** Removes it again. */
export function removePlatformDirectory(files: FileSystem, device: PlatformBusDevice): void {
	files.remove(`/sys/bus/platform/devices/${device.name}`);
	files.remove(device.syspath);
}

/** A device tree's, or else the device's own name. */
function modalias(device: PlatformBusDevice): string {
	const { node } = device.hardware.description;
	if (!node) return `platform:${device.name}`;
	const kind = node.name.split("@")[0];
	return `of:N${kind}T(null)${device.compatible.map((text) => `C${text}`).join("")}`;
}
