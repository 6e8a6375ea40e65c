/**
 * IOMMU groups as Linux 6.12 computes them: functions that cannot be kept apart share one.
 *
 * @module
 */
import {
	PCI_ACS_CAP,
	PCI_ACS_CR,
	PCI_ACS_RR,
	PCI_ACS_SV,
	PCI_ACS_UF,
	PCI_EXP_TYPE_DOWNSTREAM,
	PCI_EXP_TYPE_PCI_BRIDGE,
	PCI_EXP_TYPE_PCIE_BRIDGE,
	PCI_EXP_TYPE_RC_EC,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXT_CAP_ID_ACS,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_MFD,
} from "../../core/uapi/pci_regs.ts";
import { findExtendedCapability } from "./config-walk.ts";
import type { PciFunction } from "./function.ts";
import { load } from "./little-endian.ts";

/** What the grouping asks about a machine. */
export interface GroupingTopology {
	/** The bridge above, undefined on a root bus. */
	bridgeOf(fn: PciFunction): PciFunction | undefined;
	/** All functions in the same slot, itself included. */
	slotOf(fn: PciFunction): readonly PciFunction[];
	/** The group that a function has already. */
	groupOf(fn: PciFunction): number | undefined;
}

/** What Linux wants to be on before it believes in isolation, as far as the device has it. */
const REQUIRED = PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF;

/**
 * The group that a function has to share, or undefined when it gets one of its own.
 *
 * The order is the one of Linux: the bridges that take its requests over, then the ports above without ACS, then the
 * other functions of its slot (of the slot where the ports led).
 */
export function sharedGroup(fn: PciFunction, topology: GroupingTopology): number | undefined {
	let representative = fn;
	for (let bridge = topology.bridgeOf(fn); bridge; bridge = topology.bridgeOf(bridge)) {
		if (!takesOverRequests(bridge)) continue;
		const group = topology.groupOf(bridge);
		if (group !== undefined) return group;
		representative = bridge;
	}
	for (let port = topology.bridgeOf(representative); port; port = topology.bridgeOf(port)) {
		if (pathIsIsolated(port, topology)) break;
		const group = topology.groupOf(port);
		if (group !== undefined) return group;
		representative = port;
	}
	if (!isMultifunction(representative) || isIsolated(representative)) return undefined;
	for (const sibling of topology.slotOf(representative)) {
		if (sibling === representative || isIsolated(sibling)) continue;
		const group = topology.groupOf(sibling);
		if (group !== undefined) return group;
	}
	return undefined;
}

/** Requests from below carry the bridge's own id: PCI Express to PCI bridges, and bridges of conventional PCI. */
function takesOverRequests(bridge: PciFunction): boolean {
	const type = bridge.expressType;
	return type === undefined || type === PCI_EXP_TYPE_PCI_BRIDGE || type === PCI_EXP_TYPE_PCIE_BRIDGE;
}

/** Every port from here to the root keeps peers apart. */
function pathIsIsolated(port: PciFunction, topology: GroupingTopology): boolean {
	for (let at: PciFunction | undefined = port; at; at = topology.bridgeOf(at)) if (!isIsolated(at)) return false;
	return true;
}

function isIsolated(fn: PciFunction): boolean {
	const type = fn.expressType;
	switch (type) {
		// Conventional PCI has no access control, and the bridges to it are excluded from it.
		case undefined:
		case PCI_EXP_TYPE_PCI_BRIDGE:
		case PCI_EXP_TYPE_PCIE_BRIDGE:
		case PCI_EXP_TYPE_RC_EC:
			return false;
		case PCI_EXP_TYPE_ROOT_PORT:
		case PCI_EXP_TYPE_DOWNSTREAM:
			return hasAccessControl(fn);
		default:
			// A single function has no peer that it could reach without leaving the device.
			return !isMultifunction(fn) || hasAccessControl(fn);
	}
}

function hasAccessControl(fn: PciFunction): boolean {
	const offset = findExtendedCapability(fn.config, PCI_EXT_CAP_ID_ACS);
	if (offset === 0) return false;
	const required = REQUIRED & load(fn.config, offset + PCI_ACS_CAP, 2);
	return (load(fn.config, offset + PCI_ACS_CAP + 2, 2) & required) === required;
}

function isMultifunction(fn: PciFunction): boolean {
	if (fn.description.virtualFunction) return false;
	return fn.address.function > 0 || ((fn.config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MFD) !== 0;
}
