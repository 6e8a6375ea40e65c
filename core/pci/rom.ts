/**
 * The expansion ROM: read from the device when the guest first looks, and from then on from memory
 * (PCI Firmware 3.0, 5.1).
 *
 * @module
 */
import { allOnes, hex, load } from "../bytes.ts";
import type { AccessWidth } from "../kernel.ts";
import { PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_ENABLE } from "../uapi/pci_regs.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX } from "../uapi/vfio.ts";
import type { AssignableDevice } from "./hardware.ts";
import { adoptImage, ROM_SIGNATURE } from "./rom-image.ts";

/**
 * Asks the ROM BAR for its size, as the kernel reports a region of size 0 when the image behind it is not readable.
 *
 * @returns bytes, 0 when there is no ROM
 */
export function probeRomSize(device: AssignableDevice): number {
	const before = device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, PCI_ROM_ADDRESS, 4);
	device.writeRegion(VFIO_PCI_CONFIG_REGION_INDEX, PCI_ROM_ADDRESS, 4, ~PCI_ROM_ADDRESS_ENABLE >>> 0);
	const mask = device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, PCI_ROM_ADDRESS, 4);
	device.writeRegion(VFIO_PCI_CONFIG_REGION_INDEX, PCI_ROM_ADDRESS, 4, before);
	const writable = (mask & 0xfffff800) >>> 0;
	return writable === 0 ? 0 : 0x1_0000_0000 - writable;
}

/** The ROM of one function. */
export class Rom {
	/** Bytes of the ROM BAR. */
	readonly size: number;
	readonly #device: AssignableDevice;
	readonly #report: (message: string) => void;
	readonly #file: Uint8Array | undefined;
	/** What the guest reads as its vendor and device. */
	readonly #ids: () => { vendor: number; device: number };
	#image: Uint8Array | undefined;

	/**
	 * @param size bytes of the ROM BAR
	 * @param file an image to show instead of the device's
	 * @param ids what the guest reads as its vendor and device
	 */
	constructor(
		device: AssignableDevice,
		size: number,
		file: Uint8Array | undefined,
		ids: () => { vendor: number; device: number },
		report: (message: string) => void,
	) {
		this.#device = device;
		this.size = size;
		this.#file = file;
		this.#ids = ids;
		this.#report = report;
	}

	/** @returns all ones past the image, and where it could not be read */
	read(offset: number, width: AccessWidth): number {
		if (!(offset >= 0) || offset + width > this.size || !Number.isInteger(offset)) return allOnes(width);
		this.#image ??= this.#load();
		return offset + width <= this.#image.length ? load(this.#image, offset, width) : allOnes(width);
	}

	/** Forgets the image; the next read takes it from the device again. */
	forget(): void {
		this.#image = undefined;
	}

	#load(): Uint8Array {
		const image = this.#file ? this.#fromFile(this.#file) : this.#fromDevice();
		const named = adoptImage(image, this.#ids());
		if (named !== undefined)
			this.#report(
				`The option ROM of ${this.#device.name} names device ${hex(named, 4)}: the guest sees its own there`,
			);
		return image;
	}

	#fromFile(file: Uint8Array): Uint8Array {
		const image = new Uint8Array(this.size).fill(0xff);
		image.set(file.subarray(0, this.size));
		return image;
	}

	#fromDevice(): Uint8Array {
		const length = Math.min(this.#device.region(VFIO_PCI_ROM_REGION_INDEX).size, this.size);
		const image = new Uint8Array(this.size).fill(0xff);
		if (length === 0) {
			this.#report(`The option ROM of ${this.#device.name} is not readable: the guest reads all ones`);
			return image;
		}
		const read = this.#device.readBytes(VFIO_PCI_ROM_REGION_INDEX, 0, image.subarray(0, length));
		const signature = load(image, 0, 2);
		// Firmware ignores such an image, and so does a driver; the device works without.
		if (read > 0 && signature !== ROM_SIGNATURE)
			this.#report(`The option ROM of ${this.#device.name} begins with ${hex(signature, 4)}, not with 0xaa55`);
		return image;
	}
}
