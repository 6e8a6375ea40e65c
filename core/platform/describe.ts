/**
 * What a node of a guest's device tree is made from, as the host says it.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { type DeviceReference, locate } from "../host/location.ts";
import { readingIfThere } from "../host/sysfs.ts";
import type { Kernel } from "../kernel.ts";
import type { GuestPlatformDevice } from "../machine/platform.ts";
import type { HostPlatformDevice } from "./device-tree/description.ts";
import { HOST_DEVICE_TREE, readDeviceTree } from "./device-tree/host.ts";
import { deviceTreeNode } from "./device-tree/node.ts";

/**
 * Reads a device's node in the host's device tree, and the tree that it refers to.
 *
 * @param reference where the device is, as it was opened
 * @param device the assigned device
 * @throws VfioError `unassignable-device` when the host has no node for it, `kernel`
 * @example
 * ```ts
 * const description = describePlatformDevice(kernel, { platform: "fff51000.ethernet" }, nic);
 * description.hostNode.name; // "ethernet@fff51000"
 * ```
 */
export function describePlatformDevice(
	kernel: Kernel,
	reference: DeviceReference,
	{ regions, interrupts }: Pick<GuestPlatformDevice, "regions" | "interrupts">,
): HostPlatformDevice {
	const { name, path } = locate(reference);
	const link = `${path}/of_node`;
	const target = readingIfThere(link, () => kernel.readLink(link));
	const hostNode = target === undefined ? undefined : readDeviceTree(kernel, link, target.split("/").at(-1));
	if (!hostNode)
		throw new VfioError("unassignable-device", `Cannot describe ${name}: the host's device tree has no node for it`, {
			device: name,
			remedy: ["A device that ACPI describes has none: a guest's device tree cannot be made from it."],
		});
	const hostTree = readDeviceTree(kernel, HOST_DEVICE_TREE) ?? deviceTreeNode("", {});
	return { name, regions, interrupts, hostNode, hostTree };
}
