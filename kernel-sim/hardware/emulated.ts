/**
 * Functions of a virtual machine: what QEMU's devices make of the registers that the specification leaves to the device.
 *
 * A host that lspci printed inside a virtual machine has such functions. Their registers were asked one by one
 * (`test/contract/recorded`).
 *
 * @module
 */
import {
	PCI_CACHE_LINE_SIZE,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PM,
	PCI_CAP_ID_SATA,
	PCI_CAP_ID_VNDR,
	PCI_CAP_MSIX_SIZEOF,
	PCI_CFG_SPACE_SIZE,
	PCI_COMMAND,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL2,
	PCI_EXP_FLAGS,
	PCI_EXP_FLAGS_VERS,
	PCI_LATENCY_TIMER,
	PCI_MSI_FLAGS,
	PCI_PM_CTRL,
	PCI_STD_HEADER_SIZEOF,
} from "../../core/uapi/pci_regs.ts";
import { type FoundCapability, findCapability, walkCapabilities, walkExtendedCapabilities } from "./config-walk.ts";
import type { FunctionDescription } from "./description.ts";
import { clearBits, load, setBits } from "./little-endian.ts";
import { msiLength } from "./msi-unit.ts";
import type { RegisterMasks } from "./register-masks.ts";

/** I/O, memory, bus master, SERR#, interrupt disable. */
const COMMAND_WRITABLE = 0x0507;
const SMBUS = 0x80862930;
const RED_HAT = 0x1af4;
const QEMU = 0x1100;
/** Emulated functions that have the ids of the hardware they stand for, subsystem included. */
const DISGUISED: ReadonlyMap<number, number> = new Map([
	[0x808610d3, 0x80860000],
	[0x10000079, 0x10009261],
]);
const INTEL_82574L = 0x808610d3;
const INTEL_82576 = 0x808610c9;
const NVME = 0x1b360010;
const PM_DATA_SELECT = 0x1e00;
const ERROR_REPORTING = 0x000f;
const END_TO_END_PREFIX_BLOCKING = 0x8000;
/** A vendor capability of virtio that opens a window on the BARs (Virtio 1.2, section 4.1.4.9). */
const VIRTIO_CONFIG_ACCESS = 5;

const idOf = ({ vendor, device }: FunctionDescription) => vendor * 0x10000 + device;

/** Whether a function is one of QEMU's. */
export function isEmulated(description: FunctionDescription): boolean {
	if (description.bridge || !(description.captured || description.virtualFunction)) return false;
	const { subsystemVendor = 0, subsystemDevice = 0 } = description;
	return (
		(subsystemVendor === RED_HAT && subsystemDevice === QEMU) ||
		DISGUISED.get(idOf(description)) === subsystemVendor * 0x10000 + subsystemDevice
	);
}

/** Corrects the masks of such a function. */
export function markEmulated(masks: RegisterMasks, config: Uint8Array, description: FunctionDescription): void {
	const { writable } = masks;
	clearBits(writable, PCI_COMMAND, 2, 0xffff);
	setBits(writable, PCI_COMMAND, 2, COMMAND_WRITABLE);
	setBits(writable, PCI_CACHE_LINE_SIZE, 1, 0xff);
	clearBits(writable, PCI_LATENCY_TIMER, 1, 0xff);
	const id = idOf(description);
	const express = findCapability(config, PCI_CAP_ID_EXP);
	if (express !== 0) {
		clearBits(writable, express + PCI_EXP_DEVCTL, 2, 0xffff);
		if (id === NVME || description.vendor === RED_HAT) setBits(writable, express + PCI_EXP_DEVCTL, 2, ERROR_REPORTING);
		if ((load(config, express + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_VERS) > 1) {
			clearBits(writable, express + PCI_EXP_DEVCTL2, 2, 0xffff);
			setBits(writable, express + PCI_EXP_DEVCTL2, 2, END_TO_END_PREFIX_BLOCKING);
		}
	}
	const pm = findCapability(config, PCI_CAP_ID_PM);
	if (pm !== 0 && (id === INTEL_82574L || id === INTEL_82576)) setBits(writable, pm + PCI_PM_CTRL, 2, PM_DATA_SELECT);
	for (const { id: kind, offset } of walkCapabilities(config)) {
		if (kind !== PCI_CAP_ID_VNDR || description.vendor !== RED_HAT || config[offset + 3] !== VIRTIO_CONFIG_ACCESS)
			continue;
		writable.fill(0xff, offset + 4, offset + 5);
		writable.fill(0xff, offset + 8, offset + 20);
	}
	markUnclaimed(writable, config);
	if (id === SMBUS) clearBits(writable, 0x40, 1, 0x08); // its host configuration register
}

/** Bytes that belong to no capability are storage. */
function markUnclaimed(writable: Uint8Array, config: Uint8Array): void {
	const claimed = new Uint8Array(config.length).fill(1, 0, PCI_STD_HEADER_SIZEOF);
	// Where extended capabilities would begin, PCI Express has the header of none.
	if (findCapability(config, PCI_CAP_ID_EXP) !== 0) claimed.fill(1, PCI_CFG_SPACE_SIZE, PCI_CFG_SPACE_SIZE + 4);
	for (const capability of walkCapabilities(config))
		claimed.fill(1, capability.offset, capability.offset + standardLength(config, capability));
	for (const { id, offset } of walkExtendedCapabilities(config))
		claimed.fill(1, offset, offset + (EXTENDED_LENGTHS.get(id) ?? 16));
	for (let at = PCI_STD_HEADER_SIZEOF; at < config.length; at++) if (!claimed[at]) writable[at] = 0xff;
}

function standardLength(config: Uint8Array, { id, offset }: FoundCapability): number {
	switch (id) {
		case PCI_CAP_ID_PM:
		case PCI_CAP_ID_SATA:
			return 8;
		case PCI_CAP_ID_MSI:
			return msiLength(load(config, offset + PCI_MSI_FLAGS, 2));
		case PCI_CAP_ID_MSIX:
			return PCI_CAP_MSIX_SIZEOF;
		case PCI_CAP_ID_EXP:
			return (load(config, offset + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_VERS) > 1 ? 0x3c : 0x14;
		case PCI_CAP_ID_VNDR:
			return Math.max(config[offset + 2] ?? 0, 3);
		default:
			return 4;
	}
}

/** Bytes of the extended capabilities: errors, serial number, ACS, ARI, ATS, virtual functions. */
const EXTENDED_LENGTHS: ReadonlyMap<number, number> = new Map([
	[0x01, 0x40],
	[0x03, 12],
	[0x0d, 8],
	[0x0e, 8],
	[0x0f, 8],
	[0x10, 0x40],
]);

/** The units of 512 bytes that the first image of an expansion ROM takes. */
const ROM_LENGTHS: ReadonlyMap<number, number> = new Map([
	[INTEL_82574L, 0x93],
	[0x8086100e, 0x93],
	[0x1af41041, 0x94],
]);
const PCI_DATA = 0x1c;
const LAST_IMAGE = 0x80;

/**
 * An expansion ROM for a function of which only the ROM's size is known: header and PCI data structure of an image that
 * does nothing (PCI Firmware 3.0, section 5.1), so that whoever looks for one finds it.
 *
 * @param size bytes that its BAR decodes
 */
export function placeholderRom(description: FunctionDescription, size: number): Uint8Array {
	const units = Math.min(ROM_LENGTHS.get(idOf(description)) ?? 0xff, Math.max(1, size / 1024));
	const { vendor, device, classCode } = description;
	const image = new Uint8Array(units * 512);
	image.set([0x55, 0xaa, units, 0xe9]); // the last byte is a jump, where a BIOS would begin to run it
	image[0x18] = PCI_DATA;
	image.set([0x50, 0x43, 0x49, 0x52, vendor & 0xff, vendor >> 8, device & 0xff, device >> 8], PCI_DATA);
	image.set(
		[0x1c, 0, 3, classCode & 0xff, (classCode >> 8) & 0xff, classCode >> 16, units, 0, 1, 0, 0, LAST_IMAGE],
		PCI_DATA + 0x0a,
	);
	return image;
}
