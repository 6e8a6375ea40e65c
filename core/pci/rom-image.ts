/**
 * Images of option ROMs: which are not shown, and which are put right (PCI Firmware 3.0, 5.1).
 *
 * @module
 */
import { load, store } from "../bytes.ts";
import { PCI_DEVICE_ID, PCI_VENDOR_ID } from "../uapi/pci_regs.ts";

/** Bytes. PCI Local Bus 3.0, 6.2.5.2: an expansion ROM occupies at most 16 MiB. */
export const ROM_LARGEST = 16 << 20;

/** The first two bytes of an image. */
export const ROM_SIGNATURE = 0xaa55;

/** Devices that hang when their ROM is read. */
const DENIED: readonly { readonly vendor: number; readonly device: number }[] = [
	{ vendor: 0x14e4, device: 0x168e }, // Broadcom BCM57810
];

/** Whether a device's ROM is known to do harm. @param config its configuration space */
export function isDenied(config: Uint8Array): boolean {
	const vendor = load(config, PCI_VENDOR_ID, 2);
	const device = load(config, PCI_DEVICE_ID, 2);
	return DENIED.some((row) => row.vendor === vendor && row.device === device);
}

const LENGTH = 2;
const CHECKSUM = 6;
const DATA_POINTER = 0x18;
/** "PCIR". */
const DATA_SIGNATURE = 0x52494350;
const DATA_VENDOR = 4;
const DATA_DEVICE = 6;

/**
 * Makes an image name the device it is shown with, in place: one card's ROM often serves several devices of a vendor, and
 * firmware runs only what names the very device. An image of another vendor is left alone.
 *
 * @param ids what the guest reads in configuration space
 * @returns the device that the image named before; undefined when nothing was changed
 */
export function adoptImage(image: Uint8Array, ids: { vendor: number; device: number }): number | undefined {
	if (load(image, 0, 2) !== ROM_SIGNATURE || image.length < DATA_POINTER + 2) return undefined;
	const data = load(image, DATA_POINTER, 2);
	if (data + DATA_DEVICE + 2 > image.length || load(image, data, 4) !== DATA_SIGNATURE) return undefined;
	const device = load(image, data + DATA_DEVICE, 2);
	if (load(image, data + DATA_VENDOR, 2) !== ids.vendor || device === ids.device) return undefined;
	store(image, data + DATA_DEVICE, 2, ids.device);
	// The bytes of the image, as many as it says it has, add up to 0.
	const length = Math.min(load(image, LENGTH, 1) * 512 || image.length, image.length);
	image[CHECKSUM] = 0;
	let sum = 0;
	for (let at = 0; at < length; at++) sum += image[at] as number;
	image[CHECKSUM] = -sum & 0xff;
	return device;
}
