/**
 * Descriptions of the functions that make up a topology: ports, switches, bridges, and the two at every PC's root.
 *
 * @module
 */
import { PCI_ACS_CR, PCI_ACS_RR, PCI_ACS_SV, PCI_ACS_UF } from "../../core/uapi/pci_regs.ts";
import { express, msi, pm, subsystem } from "./capabilities.ts";
import type { FunctionDescription } from "./description.ts";
import { acs, aer } from "./extended-capabilities.ts";

/** What every bridge needs. */
export interface BridgeOptions {
	/** Number of the bus below. */
	readonly secondary: number;
	/** The highest bus number below; the secondary one when left out. */
	readonly subordinate?: number;
	/** There are more functions in its slot. */
	readonly multifunction?: boolean;
}

/** Options of {@link rootPort} and {@link switchDownstreamPort}. */
export interface PortOptions extends BridgeOptions {
	/** The number of the slot; 0 when left out. */
	readonly slot?: number;
	/** Access Control Services keep what is below apart from everything else; true when left out. */
	readonly acs?: boolean;
}

const VENDOR = 0x1b36;
const ISOLATION = PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF;

function bus(options: BridgeOptions): Pick<FunctionDescription, "bridge" | "multifunction" | "classCode" | "vendor"> {
	const { secondary, subordinate = secondary, multifunction = false } = options;
	return { vendor: VENDOR, classCode: 0x060400, bridge: { secondary, subordinate }, multifunction };
}

/** A PCI Express root port. */
export function rootPort(options: PortOptions): FunctionDescription {
	return {
		...bus(options),
		name: "root port",
		device: 0x000c,
		interruptPin: 1,
		capabilities: [
			express({ offset: 0x54, type: "root-port", slot: options.slot ?? 0 }),
			msi({ offset: 0x48, address64: false }),
			subsystem({ offset: 0x40, vendor: VENDOR, device: 0 }),
		],
		extendedCapabilities: [aer({ root: true }), ...((options.acs ?? true) ? [acs({ capable: ISOLATION })] : [])],
	};
}

/** The port of a switch that faces the root. */
export function switchUpstreamPort(options: BridgeOptions): FunctionDescription {
	return {
		...bus(options),
		name: "switch upstream port",
		vendor: 0x104c,
		device: 0x8232,
		capabilities: [pm({ noSoftReset: true }), express({ type: "upstream-port" })],
		extendedCapabilities: [aer()],
	};
}

/** A port of a switch that faces a device. */
export function switchDownstreamPort(options: PortOptions): FunctionDescription {
	return {
		...bus(options),
		name: "switch downstream port",
		vendor: 0x104c,
		device: 0x8233,
		capabilities: [pm({ noSoftReset: true }), express({ type: "downstream-port", slot: options.slot ?? 0 })],
		extendedCapabilities: [aer(), ...((options.acs ?? true) ? [acs({ capable: ISOLATION })] : [])],
	};
}

/** A bridge from PCI Express to conventional PCI. */
export function pcieToPciBridge(options: BridgeOptions): FunctionDescription {
	return {
		...bus(options),
		name: "PCIe-to-PCI bridge",
		device: 0x000e,
		capabilities: [pm({ noSoftReset: true }), express({ type: "pcie-to-pci-bridge" })],
		extendedCapabilities: [aer()],
	};
}

/** A bridge between two buses of conventional PCI. */
export function pciBridge(options: BridgeOptions): FunctionDescription {
	return { ...bus(options), name: "PCI bridge", device: 0x0001 };
}

/** The host bridge, always 00:00.0. */
export function hostBridge(): FunctionDescription {
	return {
		name: "host bridge",
		vendor: 0x8086,
		device: 0x29c0,
		classCode: 0x060000,
		subsystemVendor: 0x1af4,
		subsystemDevice: 0x1100,
	};
}

/** The bridge to what is left of ISA. */
export function isaBridge(options: { multifunction?: boolean } = {}): FunctionDescription {
	return {
		name: "ISA bridge",
		vendor: 0x8086,
		device: 0x2918,
		revision: 2,
		classCode: 0x060100,
		subsystemVendor: 0x1af4,
		subsystemDevice: 0x1100,
		multifunction: options.multifunction ?? false,
	};
}
