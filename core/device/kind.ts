/**
 * Which bus a device is of, as far as its regions and interrupts go by it.
 *
 * @module
 */

/** Whose regions and interrupts a device has: those of a PCI function, or of a platform device. */
export type DeviceKind = "pci" | "platform";

/** A device, as messages about a part of it name it. */
export interface NamedDevice {
	/** Such as `0000:05:00.0`. */
	readonly name: string;
	readonly kind: DeviceKind;
}
