/**
 * /sys/bus/<bus>: drivers, the links between them and their devices, and driver_override.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { BusDriver, DrivenDevice, DriverBus } from "../driver-bus.ts";
import type { AttributeOptions } from "../file-content.ts";
import { type FileSystem, relativeLink } from "../filesystem.ts";

/** Makes the files that every bus has. */
export function addBusDirectory<Device extends DrivenDevice<Driver>, Driver extends BusDriver<Device>>(
	files: FileSystem,
	bus: DriverBus<Device, Driver>,
): void {
	const path = `/sys/bus/${bus.name}`;
	files.directory(`${path}/devices`);
	files.directory(`${path}/drivers`);
	files.attribute(`${path}/drivers_probe`, { store: (text) => bus.probe(deviceIn(bus, text)) });
	files.attribute(`${path}/drivers_autoprobe`, {
		show: () => (bus.autoprobe ? "1\n" : "0\n"),
		store(text) {
			bus.autoprobe = !text.startsWith("0");
			return 0;
		},
	});
}

/** Makes the directory of a driver. */
export function addDriverDirectory<Device extends DrivenDevice<Driver>, Driver extends BusDriver<Device>>(
	files: FileSystem,
	bus: DriverBus<Device, Driver>,
	driver: Driver,
): void {
	const path = `/sys/bus/${bus.name}/drivers/${driver.name}`;
	files.attribute(`${path}/bind`, { store: (text) => bus.bind(driver, deviceIn(bus, text)) });
	files.attribute(`${path}/unbind`, { store: (text) => bus.unbind(driver, deviceIn(bus, text)) });
	// A module is named as its driver, as far as a module can be.
	const module = `/sys/module/${driver.name.replaceAll("-", "_")}`;
	files.directory(module);
	files.link(`${path}/module`, relativeLink(`${path}/module`, module));
}

/** Makes the link to a device in its bus's directory, and the one back. */
export function addDeviceLinks(files: FileSystem, bus: string, device: { name: string; syspath: string }): void {
	const link = `/sys/bus/${bus}/devices/${device.name}`;
	files.link(link, relativeLink(link, device.syspath));
	const subsystem = `${device.syspath}/subsystem`;
	files.link(subsystem, relativeLink(subsystem, `/sys/bus/${bus}`));
}

/** Makes the two links between a device and its driver. */
export function addDriverLinks<Driver extends { readonly name: string }>(
	files: FileSystem,
	bus: string,
	device: DrivenDevice<Driver>,
	driver: Driver,
): void {
	const directory = `/sys/bus/${bus}/drivers/${driver.name}`;
	const toDriver = `${device.syspath}/driver`;
	const toDevice = `${directory}/${device.name}`;
	files.link(toDriver, relativeLink(toDriver, directory));
	files.link(toDevice, relativeLink(toDevice, device.syspath));
}

/** Removes them again. */
export function removeDriverLinks<Driver extends { readonly name: string }>(
	files: FileSystem,
	bus: string,
	device: DrivenDevice<Driver>,
	driver: Driver,
): void {
	files.remove(`${device.syspath}/driver`);
	files.remove(`/sys/bus/${bus}/drivers/${driver.name}/${device.name}`);
}

/** The attribute `driver_override` of a device. */
export function driverOverride<Driver>(device: DrivenDevice<Driver>): AttributeOptions {
	return {
		show: () => `${device.driverOverride ?? "(null)"}\n`,
		store(text) {
			if (text.length >= PAGE_SIZE - 1) return -EINVAL;
			const name = text.split("\n")[0] ?? "";
			device.driverOverride = name === "" ? undefined : name;
			return 0;
		},
	};
}

function deviceIn<Device extends DrivenDevice<Driver>, Driver extends BusDriver<Device>>(
	bus: DriverBus<Device, Driver>,
	text: string,
): Device | undefined {
	return bus.devices.get(text.replace(/\n$/, ""));
}
