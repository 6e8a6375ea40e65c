/**
 * A function's description from the registers of a real one, as `lspci -xxxx` prints them.
 *
 * @module
 */
import {
	PCI_CLASS_PROG,
	PCI_DEVICE_ID,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_BRIDGE,
	PCI_HEADER_TYPE_MASK,
	PCI_HEADER_TYPE_MFD,
	PCI_INTERRUPT_PIN,
	PCI_REVISION_ID,
	PCI_SECONDARY_BUS,
	PCI_SUBORDINATE_BUS,
	PCI_SUBSYSTEM_ID,
	PCI_SUBSYSTEM_VENDOR_ID,
	PCI_VENDOR_ID,
} from "../../core/uapi/pci_regs.ts";
import type { FunctionDescription, RomDescription } from "./description.ts";
import { load } from "./little-endian.ts";
import type { BarDescription } from "./model.ts";

/** What the registers do not say. */
export interface CapturedFunction {
	/** Sizes cannot be read from a BAR without writing it. None when left out. */
	readonly bars?: readonly BarDescription[];
	readonly rom?: RomDescription;
	readonly name?: string;
}

/**
 * Describes a function by its registers. Which of their bits can be written follows from the standard layout of the
 * capabilities that a bounded walk finds; nothing in the bytes makes this throw.
 *
 * @param config 256 or 4096 bytes; fewer are filled up with zeros
 */
export function describeConfig(config: Uint8Array, rest: CapturedFunction = {}): FunctionDescription {
	const header = config[PCI_HEADER_TYPE] ?? 0;
	const bridge = (header & PCI_HEADER_TYPE_MASK) === PCI_HEADER_TYPE_BRIDGE;
	return {
		vendor: load(config, PCI_VENDOR_ID, 2),
		device: load(config, PCI_DEVICE_ID, 2),
		classCode: load(config, PCI_CLASS_PROG, 1) | (load(config, PCI_CLASS_PROG + 1, 2) << 8),
		revision: load(config, PCI_REVISION_ID, 1),
		subsystemVendor: load(config, PCI_SUBSYSTEM_VENDOR_ID, 2),
		subsystemDevice: load(config, PCI_SUBSYSTEM_ID, 2),
		interruptPin: load(config, PCI_INTERRUPT_PIN, 1),
		multifunction: (header & PCI_HEADER_TYPE_MFD) !== 0,
		...(bridge
			? { bridge: { secondary: config[PCI_SECONDARY_BUS] ?? 0, subordinate: config[PCI_SUBORDINATE_BUS] ?? 0 } }
			: {}),
		...rest,
		captured: config.slice(),
	};
}
