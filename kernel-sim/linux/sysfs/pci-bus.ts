/**
 * /sys/bus/pci: drivers, and the links between them and their devices.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import type { PciDevice, PciDriver } from "../driver.ts";
import { type FileSystem, relativeLink } from "../filesystem.ts";
import type { PciBus } from "../pci-bus.ts";
import { parseNumber } from "../text.ts";

const BUS = "/sys/bus/pci";

/** The module that a driver is in: named alike, as far as a module can be. */
function moduleOf(driver: PciDriver): string {
	return driver.name.replaceAll("-", "_");
}

/** Makes the files of the bus itself. @param rescan looks for devices that the bus does not know */
export function addBusDirectory(files: FileSystem, bus: PciBus, rescan: () => void): void {
	files.directory(`${BUS}/devices`);
	files.directory(`${BUS}/drivers`);
	files.attribute(`${BUS}/drivers_probe`, { store: (text) => bus.probe(bus.devices.get(nameIn(text))) });
	files.attribute(`${BUS}/drivers_autoprobe`, {
		show: () => (bus.autoprobe ? "1\n" : "0\n"),
		store(text) {
			bus.autoprobe = !text.startsWith("0");
			return 0;
		},
	});
	files.attribute(`${BUS}/rescan`, {
		store(text) {
			const value = parseNumber(text);
			if (value === undefined) return -EINVAL;
			if (value !== 0) rescan();
			return 0;
		},
	});
}

/** Makes the directory of a driver. */
export function addDriverDirectory(files: FileSystem, bus: PciBus, driver: PciDriver): void {
	const path = `${BUS}/drivers/${driver.name}`;
	const device = (text: string) => bus.devices.get(nameIn(text));
	files.attribute(`${path}/bind`, { store: (text) => bus.bind(driver, device(text)) });
	files.attribute(`${path}/unbind`, { store: (text) => bus.unbind(driver, device(text)) });
	files.attribute(`${path}/new_id`, { store: (text) => bus.addId(driver, text) });
	files.attribute(`${path}/remove_id`, { store: (text) => bus.removeId(driver, text) });
	const module = `/sys/module/${moduleOf(driver)}`;
	files.directory(module);
	files.link(`${path}/module`, relativeLink(`${path}/module`, module));
}

/** Makes the two links between a device and its driver. */
export function addDriverLinks(files: FileSystem, device: PciDevice, driver: PciDriver): void {
	const directory = `${BUS}/drivers/${driver.name}`;
	const toDriver = `${device.syspath}/driver`;
	const toDevice = `${directory}/${device.name}`;
	files.link(toDriver, relativeLink(toDriver, directory));
	files.link(toDevice, relativeLink(toDevice, device.syspath));
}

/** Removes them again. */
export function removeDriverLinks(files: FileSystem, device: PciDevice, driver: PciDriver): void {
	files.remove(`${device.syspath}/driver`);
	files.remove(`${BUS}/drivers/${driver.name}/${device.name}`);
}

function nameIn(text: string): string {
	return text.replace(/\n$/, "");
}
