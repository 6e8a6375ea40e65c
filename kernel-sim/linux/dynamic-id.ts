/**
 * Ids that are given to a PCI driver at run time, through new_id and remove_id.
 *
 * @module
 */
import { EINVAL } from "../../core/uapi/errno.ts";
import type { PciIdentity } from "./driver.ts";

/** Matches every value of a field. */
export const PCI_ANY_ID = 0xffffffff;

/** What a driver says it can drive. */
export interface PciDeviceId {
	readonly vendor: number;
	readonly device: number;
	readonly subvendor: number;
	readonly subdevice: number;
	readonly class: number;
	readonly classMask: number;
}

/** One line of new_id or remove_id. */
export interface ParsedId {
	readonly id: PciDeviceId;
	/** How many of the fields were there. */
	readonly fields: number;
	readonly driverData: number;
}

/**
 * Reads `vendor device [subvendor [subdevice [class [class_mask [driver_data]]]]]`, hexadecimal.
 *
 * @returns -EINVAL when there are fewer than two fields
 */
export function parseDynamicId(text: string): ParsedId | number {
	const values: number[] = [];
	// As sscanf does: what is not a number ends the list.
	for (const word of text.trim().split(/\s+/).slice(0, 7)) {
		if (!/^(?:0x)?[0-9a-f]+$/i.test(word)) break;
		values.push(Number.parseInt(word, 16));
	}
	const [vendor, device, subvendor, subdevice, deviceClass, classMask, driverData] = values;
	if (vendor === undefined || device === undefined) return -EINVAL;
	const id = {
		vendor,
		device,
		subvendor: subvendor ?? PCI_ANY_ID,
		subdevice: subdevice ?? PCI_ANY_ID,
		class: deviceClass ?? 0,
		classMask: classMask ?? 0,
	};
	return { id, fields: values.length, driverData: driverData ?? 0 };
}

/** Whether an id covers a device. */
export function idMatches(id: PciDeviceId, device: PciIdentity): boolean {
	return (
		(id.vendor === PCI_ANY_ID || id.vendor === device.vendor) &&
		(id.device === PCI_ANY_ID || id.device === device.device) &&
		(id.subvendor === PCI_ANY_ID || id.subvendor === device.subsystemVendor) &&
		(id.subdevice === PCI_ANY_ID || id.subdevice === device.subsystemDevice) &&
		((id.class ^ device.class) & id.classMask) === 0
	);
}

/** The device that an id describes, to look whether a driver has it already. */
export function identityOf(id: PciDeviceId): PciIdentity {
	const { vendor, device, subvendor, subdevice } = id;
	return { vendor, device, subsystemVendor: subvendor, subsystemDevice: subdevice, class: id.class };
}
