/**
 * The MSI capability: its four layouts, and the guest's copy of it (PCI Local Bus 3.0, 6.8.1).
 *
 * @module
 */
import { load } from "../bytes.ts";
import {
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_32,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_64BIT,
	PCI_MSI_FLAGS_ENABLE,
	PCI_MSI_FLAGS_MASKBIT,
	PCI_MSI_FLAGS_QMASK,
	PCI_MSI_FLAGS_QSIZE,
} from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";

/** What the capability says. */
export interface MsiCapability {
	/** Where it is in configuration space. */
	readonly offset: number;
	/** 10, 14, 20 or 24 bytes. */
	readonly size: number;
	/** 1, 2, 4, 8, 16 or 32. */
	readonly vectors: number;
	readonly address64: boolean;
	/** It has mask and pending bits for each vector. */
	readonly maskable: boolean;
	/** Where the message data register is in configuration space. */
	readonly data: number;
	/** Where the mask bits are in configuration space; the pending bits follow. Undefined without them. */
	readonly mask: number | undefined;
}

/** Reads the capability. @param config its control word must be inside */
export function readMsi(config: Uint8Array, offset: number): MsiCapability {
	const flags = load(config, offset + PCI_MSI_FLAGS, 2);
	const address64 = (flags & PCI_MSI_FLAGS_64BIT) !== 0;
	const maskable = (flags & PCI_MSI_FLAGS_MASKBIT) !== 0;
	const data = offset + (address64 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32);
	return {
		offset,
		size: 0xa + (address64 ? 4 : 0) + (maskable ? 0xa : 0),
		// Exponents 6 and 7 are reserved; no device has more than 32.
		vectors: 1 << Math.min((flags & PCI_MSI_FLAGS_QMASK) >> 1, 5),
		address64,
		maskable,
		data,
		mask: maskable ? data + 4 : undefined,
	};
}

/** Takes the whole capability out of the device's hands and puts it into power-on state. */
export function emulateMsi(registers: ConfigRegisters, capability: MsiCapability): void {
	const { offset, size, vectors, address64, maskable, data, mask } = capability;
	registers.emulate(offset, 2, registers.get(offset, 2));
	registers.blank(offset + PCI_MSI_FLAGS, offset + size);
	const flags =
		(Math.log2(vectors) << 1) | (address64 ? PCI_MSI_FLAGS_64BIT : 0) | (maskable ? PCI_MSI_FLAGS_MASKBIT : 0);
	registers.emulate(offset + PCI_MSI_FLAGS, 2, flags, PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
	registers.emulate(offset + PCI_MSI_ADDRESS_LO, 4, 0, 0xfffffffc);
	if (address64) registers.emulate(offset + PCI_MSI_ADDRESS_HI, 4, 0, 0xffffffff);
	registers.emulate(data, 2, 0, 0xffff);
	if (mask !== undefined) registers.emulate(mask, 4, 0, 0xffffffff >>> (32 - vectors));
}
