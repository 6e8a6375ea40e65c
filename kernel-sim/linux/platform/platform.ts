/**
 * The platform bus of a simulated Linux: what is on it when it boots, and what comes and goes later.
 *
 * @module
 */
import type { PlatformHardware } from "../../hardware/platform/hardware.ts";
import type { Machine } from "../../hardware/topology.ts";
import type { Host } from "../../host.ts";
import type { FileSystem } from "../filesystem.ts";
import type { IommuGroup } from "../iommu-group.ts";
import { addBusDirectory, addDriverDirectory, addDriverLinks, removeDriverLinks } from "../sysfs/bus.ts";
import { PlatformBus } from "./bus.ts";
import { PlatformBusDevice, type PlatformDriver } from "./device.ts";
import { addFirmwareNodes } from "./firmware-tree.ts";
import { builtInPlatformDrivers, nativePlatformDriver } from "./native-driver.ts";
import { addPlatformDirectory, removePlatformDirectory } from "./sysfs.ts";

/** What the platform bus needs of the kernel it is in. */
export interface PlatformContext {
	readonly files: FileSystem;
	readonly machine: Machine;
	/** Makes a group. */
	addGroup(id: number): IommuGroup;
	/** A device joins its group: sysfs. */
	joined(group: IommuGroup, device: PlatformBusDevice): void;
	/** A device has left its group. */
	left(group: IommuGroup, device: PlatformBusDevice): void;
}

/** Makes the bus and its files. */
export function makePlatformBus({ files, joined, left }: PlatformContext): PlatformBus {
	const bus = new PlatformBus({
		deviceAdded: (device) => {
			addPlatformDirectory(files, device);
			if (device.group) joined(device.group, device);
		},
		deviceRemoved: (device) => {
			removePlatformDirectory(files, device);
			if (device.group) left(device.group, device);
		},
		driverAdded: (driver) => addDriverDirectory(files, bus, driver),
		bound: (device, driver) => addDriverLinks(files, "platform", device, driver),
		unbinding: (device, driver) => removeDriverLinks(files, "platform", device, driver),
	});
	addBusDirectory(files, bus);
	return bus;
}

/** Finds the host's platform devices and gives them to the drivers that the host names. */
export function bootPlatform(context: PlatformContext, bus: PlatformBus, host: Host, drivers: PlatformDriver[]): void {
	addFirmwareNodes(context.files, host.deviceTree);
	for (const driver of [...builtInPlatformDrivers(), ...drivers]) bus.addDriver(driver);
	for (const hardware of context.machine.platformDevices) addPlatformDevice(context, bus, hardware);
	for (const device of bus.devices.values()) {
		const name = host.drivers.get(device.name);
		if (name === undefined) continue;
		let driver = bus.drivers.get(name);
		if (!driver) {
			driver = nativePlatformDriver(name, device.compatible);
			bus.addDriver(driver);
		}
		if (!bus.matches(driver, device)) device.driverOverride = name;
		bus.bind(driver, device);
	}
}

/** A device is there. */
export function addPlatformDevice(
	context: PlatformContext,
	bus: PlatformBus,
	hardware: PlatformHardware,
): PlatformBusDevice {
	const id = context.machine.platformGroupOf(hardware);
	const { node } = hardware.description;
	if (node) addFirmwareNodes(context.files, [node]);
	const device = new PlatformBusDevice(hardware, id === undefined ? undefined : context.addGroup(id));
	bus.addDevice(device);
	return device;
}
