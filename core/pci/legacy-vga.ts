/**
 * Legacy VGA of a display controller: ports and memory at fixed addresses, which VFIO has as a region of their own.
 *
 * @module
 */
import { allOnes } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import type { AccessWidth } from "../kernel.ts";
import { PCI_REVISION_ID } from "../uapi/pci_regs.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_VGA_REGION_INDEX } from "../uapi/vfio.ts";
import type { WatchedArea } from "./bar.ts";
import type { AssignableDevice } from "./hardware.ts";

/** Memory, monochrome ports, colour ports: in the region each is at its own address (PCI-to-PCI Bridge 1.2, 3.2.5.18). */
const WINDOWS = [
	{ start: 0xa0000, end: 0xc0000 },
	{ start: 0x3b0, end: 0x3bc },
	{ start: 0x3c0, end: 0x3e0 },
] as const;
const REGION_SIZE = 0xc0000;
const VGA_CLASS = 0x030000;

/** The legacy VGA of one function. */
export class LegacyVga {
	/** What quirks watch over, in order. */
	watched: readonly WatchedArea[] = [];
	readonly #device: AssignableDevice;
	readonly #endOfInterrupt: () => void;

	private constructor(device: AssignableDevice, endOfInterrupt: () => void) {
		this.#device = device;
		this.#endOfInterrupt = endOfInterrupt;
	}

	/**
	 * @param endOfInterrupt an access to the device is taken for it
	 * @throws VfioError `invalid-argument` when the device, or the kernel, has no legacy VGA
	 */
	static of(device: AssignableDevice, endOfInterrupt: () => void): LegacyVga {
		const { name } = device;
		const classCode = device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, PCI_REVISION_ID, 4) >>> 8;
		const what = `Cannot give the guest legacy VGA of ${name}`;
		if (classCode !== VGA_CLASS)
			throw new VfioError("invalid-argument", `${what}: its class is 0x${classCode.toString(16)}, no VGA controller`, {
				device: name,
			});
		if (device.region(VFIO_PCI_VGA_REGION_INDEX).size < REGION_SIZE)
			throw new VfioError("invalid-argument", `${what}: the kernel does not offer it`, {
				device: name,
				remedy: ["Use a kernel with CONFIG_VFIO_PCI_VGA, and load vfio-pci with disable_vga=0."],
			});
		return new LegacyVga(device, endOfInterrupt);
	}

	/** Whether the bytes are legacy VGA's. */
	reaches(address: number, width: number): boolean {
		return WINDOWS.some(({ start, end }) => address >= start && address + width <= end);
	}

	/** @param address of memory or of a port @returns all ones where there is nothing */
	read(address: number, width: AccessWidth): number {
		if (!this.reaches(address, width)) return allOnes(width);
		for (const area of this.watched)
			if (address < area.end && address + width > area.start)
				return address >= area.start && address + width <= area.end
					? area.quirk.read(VFIO_PCI_VGA_REGION_INDEX, address, width)
					: allOnes(width);
		const value = this.#device.readRegion(VFIO_PCI_VGA_REGION_INDEX, address, width);
		this.#endOfInterrupt();
		return value;
	}

	/** @param address of memory or of a port */
	write(address: number, width: AccessWidth, value: number): void {
		if (!this.reaches(address, width)) return;
		for (const area of this.watched)
			if (address < area.end && address + width > area.start) {
				if (address >= area.start && address + width <= area.end)
					area.quirk.write(VFIO_PCI_VGA_REGION_INDEX, address, width, value >>> 0);
				return;
			}
		this.#device.writeRegion(VFIO_PCI_VGA_REGION_INDEX, address, width, value);
		this.#endOfInterrupt();
	}
}
