/**
 * Identification registers that the host's owner may override.
 *
 * @module
 */
import { hex } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import {
	PCI_DEVICE_ID,
	PCI_REVISION_ID,
	PCI_SUBSYSTEM_ID,
	PCI_SUBSYSTEM_VENDOR_ID,
	PCI_VENDOR_ID,
} from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";

/** What the guest shall read instead of the device's own numbers. What is left out stays the device's. */
export interface IdentityOverrides {
	/** 0 to 0xfffe. */
	readonly vendor?: number;
	/** 0 to 0xffff. */
	readonly device?: number;
	/** 0 to 0xffff. */
	readonly subsystemVendor?: number;
	/** 0 to 0xffff. */
	readonly subsystem?: number;
	/** 24 bits: base class, sub-class, programming interface. */
	readonly classCode?: number;
}

/** @throws VfioError `invalid-argument` when a number does not fit its register */
export function checkIdentity(overrides: IdentityOverrides): void {
	const check = (name: keyof IdentityOverrides, maximum: number) => {
		const value = overrides[name];
		if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= maximum))
			throw new VfioError(
				"invalid-argument",
				`Cannot use ${value} as ${name} override: it is a number from 0 to ${hex(maximum)}`,
			);
	};
	// 0xffff is what a bus answers when no function is there.
	check("vendor", 0xfffe);
	check("device", 0xffff);
	check("subsystemVendor", 0xffff);
	check("subsystem", 0xffff);
	check("classCode", 0xffffff);
}

/** Takes the overridden registers out of the device's hands. */
export function overrideIdentity(registers: ConfigRegisters, overrides: IdentityOverrides): void {
	const { vendor, device, subsystemVendor, subsystem, classCode } = overrides;
	if (vendor !== undefined) registers.emulate(PCI_VENDOR_ID, 2, vendor);
	if (device !== undefined) registers.emulate(PCI_DEVICE_ID, 2, device);
	if (subsystemVendor !== undefined) registers.emulate(PCI_SUBSYSTEM_VENDOR_ID, 2, subsystemVendor);
	if (subsystem !== undefined) registers.emulate(PCI_SUBSYSTEM_ID, 2, subsystem);
	if (classCode !== undefined) registers.emulate(PCI_REVISION_ID, 4, classCode << 8, 0, 0xffffff00);
}
