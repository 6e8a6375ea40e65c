/**
 * The device's side of the configuration space.
 *
 * @module
 */
import { VFIO_PCI_CONFIG_REGION_INDEX } from "../uapi/vfio.ts";
import type { ConfigHardware } from "./config-space.ts";
import type { AssignableDevice } from "./hardware.ts";

const CONFIG = VFIO_PCI_CONFIG_REGION_INDEX;

/** What a guest's config accesses reach. A mediated device may end before 256 bytes: what is missing reads as zero. */
export function configHardware(device: AssignableDevice): ConfigHardware {
	const { size } = device.region(CONFIG);
	return {
		read(offset, width) {
			if (offset + width <= size) return device.readRegion(CONFIG, offset, width);
			let value = 0;
			for (let at = offset; at < size; at++) value += device.readRegion(CONFIG, at, 1) * 2 ** (8 * (at - offset));
			return value;
		},
		write(offset, width, value) {
			if (offset + width <= size) device.writeRegion(CONFIG, offset, width, value);
			else for (let at = offset; at < size; at++) device.writeRegion(CONFIG, at, 1, byteOf(value, at - offset));
		},
	};
}

function byteOf(value: number, index: number): number {
	return (value >>> (8 * index)) & 0xff;
}
