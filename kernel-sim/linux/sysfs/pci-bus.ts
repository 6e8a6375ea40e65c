/**
 * What /sys/bus/pci has beyond other buses: a rescan, and ids that are added to drivers.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import type { PciDriver } from "../driver.ts";
import type { FileSystem } from "../filesystem.ts";
import type { PciBus } from "../pci-bus.ts";
import { parseNumber } from "../text.ts";
import { addBusDirectory, addDriverDirectory } from "./bus.ts";

/** Makes the files of the bus itself. @param rescan looks for devices that the bus does not know */
export function addPciBusDirectory(files: FileSystem, bus: PciBus, rescan: () => void): void {
	addBusDirectory(files, bus);
	files.attribute("/sys/bus/pci/rescan", {
		store(text) {
			const value = parseNumber(text);
			if (value === undefined) return -EINVAL;
			if (value !== 0) rescan();
			return 0;
		},
	});
}

/** Makes the directory of a driver. */
export function addPciDriverDirectory(files: FileSystem, bus: PciBus, driver: PciDriver): void {
	addDriverDirectory(files, bus, driver);
	const path = `/sys/bus/pci/drivers/${driver.name}`;
	files.attribute(`${path}/new_id`, { store: (text) => bus.addId(driver, text) });
	files.attribute(`${path}/remove_id`, { store: (text) => bus.removeId(driver, text) });
}
