/**
 * From a {@link FunctionDescription} to configuration space: the bytes at power-on, the bytes it starts with, and the
 * masks of its writable bits.
 *
 * @module
 */
import {
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PM,
	PCI_CFG_SPACE_EXP_SIZE,
	PCI_CFG_SPACE_SIZE,
	PCI_CLASS_PROG,
	PCI_DEVICE_ID,
	PCI_EXP_FLAGS,
	PCI_EXP_FLAGS_TYPE,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_MASK,
	PCI_HEADER_TYPE_MFD,
	PCI_INTERRUPT_PIN,
	PCI_MSI_FLAGS,
	PCI_REVISION_ID,
	PCI_SECONDARY_BUS,
	PCI_STATUS,
	PCI_STATUS_INTERRUPT,
	PCI_STD_HEADER_SIZEOF,
	PCI_SUBORDINATE_BUS,
	PCI_SUBSYSTEM_ID,
	PCI_SUBSYSTEM_VENDOR_ID,
	PCI_VENDOR_ID,
} from "../../core/uapi/pci_regs.ts";
import { layOutBars } from "./bar-registers.ts";
import { chainCapabilities, chainExtendedCapabilities } from "./capability-chain.ts";
import { findCapability, walkCapabilities, walkExtendedCapabilities } from "./config-walk.ts";
import type { FunctionDescription } from "./description.ts";
import { isEmulated, markEmulated } from "./emulated.ts";
import { markHeader } from "./header-masks.ts";
import { clearBits, load, setBits, store } from "./little-endian.ts";
import { msiLength } from "./msi-unit.ts";
import { markCapability, markExtendedCapability, type RegisterMasks } from "./register-masks.ts";

/** The registers of a function. */
export interface ConfigLayout extends RegisterMasks {
	/** After a reset. */
	readonly powerOn: Uint8Array;
	/** When it is built: power-on, with the bus numbers of a bridge; or the captured registers. */
	readonly initial: Uint8Array;
}

const BRIDGE_PREFETCH_BASE = 0x24;

/** Builds the registers. @throws VfioError `invalid-argument` when the description contradicts itself */
export function layOutConfig(description: FunctionDescription): ConfigLayout {
	const initial = description.captured ? captured(description.captured) : composed(description);
	const masks = { writable: new Uint8Array(initial.length), writeOneToClear: new Uint8Array(initial.length) };
	const bridge = ((initial[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK) === PCI_HEADER_TYPE_BRIDGE;
	markHeader(masks, initial, description, bridge);
	layOutBars(masks, initial, description, bridge);
	for (const capability of walkCapabilities(initial)) markCapability(masks, initial, capability);
	const express = findCapability(initial, PCI_CAP_ID_EXP);
	const portType = express === 0 ? undefined : (load(initial, express + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_TYPE) >>> 4;
	for (const capability of walkExtendedCapabilities(initial))
		markExtendedCapability(masks, initial, capability, portType);
	if (!description.captured) markOwn(masks, initial, description);
	if (isEmulated(description)) markEmulated(masks, initial, description);
	// Capabilities that overlap, as a hostile chain has them, must not make a bit both.
	masks.writable.forEach((bits, offset) => {
		masks.writeOneToClear[offset] = (masks.writeOneToClear[offset] ?? 0) & ~bits;
	});
	return { ...masks, initial, powerOn: powerOn(initial, masks) };
}

function captured(bytes: Uint8Array): Uint8Array {
	const config = new Uint8Array(bytes.length > PCI_CFG_SPACE_SIZE ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE);
	config.set(bytes.subarray(0, config.length));
	// Whatever was interrupting then is not interrupting now.
	clearBits(config, PCI_STATUS, 2, PCI_STATUS_INTERRUPT);
	return config;
}

function composed(description: FunctionDescription): Uint8Array {
	const capabilities = description.capabilities ?? [];
	const extended = description.extendedCapabilities ?? [];
	const large = capabilities.some((capability) => capability.id === PCI_CAP_ID_EXP) || extended.length > 0;
	const config = new Uint8Array(description.configSize ?? (large ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE));
	const virtual = description.virtualFunction ?? false;
	store(config, PCI_VENDOR_ID, 2, virtual ? 0xffff : description.vendor);
	store(config, PCI_DEVICE_ID, 2, virtual ? 0xffff : description.device);
	store(config, PCI_REVISION_ID, 1, description.revision ?? 0);
	store(config, PCI_CLASS_PROG, 1, description.classCode);
	store(config, PCI_CLASS_PROG + 1, 2, description.classCode >>> 8);
	store(config, PCI_HEADER_TYPE, 1, description.multifunction ? PCI_HEADER_TYPE_MFD : 0);
	store(config, PCI_INTERRUPT_PIN, 1, virtual ? 0 : (description.interruptPin ?? 0));
	const bridge = description.bridge;
	if (bridge) {
		setBits(config, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_BRIDGE);
		store(config, PCI_SECONDARY_BUS, 1, bridge.secondary);
		store(config, PCI_SUBORDINATE_BUS, 1, bridge.subordinate ?? bridge.secondary);
		// Windows: I/O of 16 bits, memory of 32, prefetchable memory of 64.
		store(config, BRIDGE_PREFETCH_BASE, 4, 0x00010001);
	} else {
		store(config, PCI_SUBSYSTEM_VENDOR_ID, 2, description.subsystemVendor ?? 0);
		store(config, PCI_SUBSYSTEM_ID, 2, description.subsystemDevice ?? 0);
	}
	for (const { offset, bytes } of description.registers ?? []) config.set(bytes, offset);
	chainCapabilities(config, capabilities);
	chainExtendedCapabilities(config, extended);
	return config;
}

/** The masks that a description brings along, where the standard ones do not know the registers. */
function markOwn(masks: RegisterMasks, config: Uint8Array, description: FunctionDescription): void {
	for (const { offset, writable } of description.registers ?? []) if (writable) masks.writable.set(writable, offset);
	const offsets = walkCapabilities(config).map((found) => found.offset);
	description.capabilities?.forEach((capability, index) => {
		if (capability.writable) masks.writable.set(capability.writable, offsets[index] as number);
	});
	const extended = walkExtendedCapabilities(config).map((found) => found.offset);
	description.extendedCapabilities?.forEach((capability, index) => {
		if (capability.writable) masks.writable.set(capability.writable, extended[index] as number);
	});
}

/** What a reset leaves: the header and what switches interrupts and power back to zero, everything else as it was. */
function powerOn(initial: Uint8Array, masks: RegisterMasks): Uint8Array {
	const config = initial.slice();
	for (let offset = 0; offset < PCI_STD_HEADER_SIZEOF; offset++)
		config[offset] = (config[offset] ?? 0) & ~(masks.writable[offset] ?? 0);
	for (let offset = 0; offset < config.length; offset++)
		config[offset] = (config[offset] ?? 0) & ~(masks.writeOneToClear[offset] ?? 0);
	clearBits(config, PCI_STATUS, 2, PCI_STATUS_INTERRUPT);
	for (const { id, offset } of walkCapabilities(initial)) {
		const msi = id === PCI_CAP_ID_MSI ? msiLength(load(initial, offset + PCI_MSI_FLAGS, 2)) : 0;
		const length = id === PCI_CAP_ID_MSIX ? 4 : id === PCI_CAP_ID_PM ? 8 : msi;
		for (let at = offset; at < offset + length && at < PCI_CFG_SPACE_SIZE; at++)
			config[at] = (config[at] ?? 0) & ~(masks.writable[at] ?? 0);
	}
	return config;
}
