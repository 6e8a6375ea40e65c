/**
 * The PCI Express capability in another place than the device's own: the type a function shows must fit the bus it is on
 * in the virtual machine (PCI Express Base, 7.5.3).
 *
 * @module
 */
import { hex } from "../bytes.ts";
import type { AccessWidth } from "../kernel.ts";
import type { PciSlot } from "../machine/machine.ts";
import {
	PCI_EXP_DEVCAP,
	PCI_EXP_DEVCAP_FLR,
	PCI_EXP_FLAGS,
	PCI_EXP_FLAGS_TYPE,
	PCI_EXP_FLAGS_VERS,
	PCI_EXP_LNKCAP,
	PCI_EXP_LNKCAP2,
	PCI_EXP_LNKCTL,
	PCI_EXP_LNKCTL2,
	PCI_EXP_LNKSTA,
	PCI_EXP_LNKSTA2,
	PCI_EXP_TYPE_DOWNSTREAM,
	PCI_EXP_TYPE_ENDPOINT,
	PCI_EXP_TYPE_LEG_END,
	PCI_EXP_TYPE_PCI_BRIDGE,
	PCI_EXP_TYPE_PCIE_BRIDGE,
	PCI_EXP_TYPE_RC_EC,
	PCI_EXP_TYPE_RC_END,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXP_TYPE_UPSTREAM,
} from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";
import type { Capability } from "./walk.ts";

/** What is done with the capability on a bus: shown as it is, hidden, or shown with another type. */
export type ExpressFix = "keep" | "hide" | "to-integrated-endpoint" | "to-endpoint";

const FIXES: Readonly<Record<PciSlot["bus"], Readonly<Record<number, ExpressFix>>>> = {
	conventional: {
		[PCI_EXP_TYPE_ENDPOINT]: "keep",
		[PCI_EXP_TYPE_LEG_END]: "keep",
		[PCI_EXP_TYPE_RC_END]: "keep",
	},
	"root-complex": {
		[PCI_EXP_TYPE_ENDPOINT]: "to-integrated-endpoint",
		[PCI_EXP_TYPE_LEG_END]: "hide",
		[PCI_EXP_TYPE_RC_END]: "keep",
	},
	"downstream-port": {
		[PCI_EXP_TYPE_ENDPOINT]: "keep",
		[PCI_EXP_TYPE_LEG_END]: "keep",
		[PCI_EXP_TYPE_RC_END]: "to-endpoint",
	},
};

const TYPES: Readonly<Record<number, string>> = {
	[PCI_EXP_TYPE_ROOT_PORT]: "root port",
	[PCI_EXP_TYPE_UPSTREAM]: "upstream switch port",
	[PCI_EXP_TYPE_DOWNSTREAM]: "downstream switch port",
	[PCI_EXP_TYPE_PCI_BRIDGE]: "PCI Express to PCI bridge",
	[PCI_EXP_TYPE_PCIE_BRIDGE]: "PCI to PCI Express bridge",
	[PCI_EXP_TYPE_RC_EC]: "root complex event collector",
};

/** A link of one lane at 2.5 GT/s: what an endpoint must claim when its device has no link of its own. */
const LINK_X1_GEN1 = 0x11;

/** The device's type, from its capability. */
export function expressType(registers: ConfigRegisters, capability: Capability): number {
	return (registers.get(capability.offset + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_TYPE) >> 4;
}

/** Whether the function can be reset by itself through this capability (FLR). */
export function expressHasFlr(registers: ConfigRegisters, capability: Capability): boolean {
	return (
		capability.size >= PCI_EXP_DEVCAP + 4 &&
		(registers.get(capability.offset + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR) !== 0
	);
}

/** @returns why a device of this type cannot be assigned, or undefined when it can */
export function unassignableType(type: number): string | undefined {
	if (FIXES["downstream-port"][type]) return undefined;
	return `it is a ${TYPES[type] ?? `PCI Express function of the unknown type ${hex(type)}`}; only endpoints can be assigned`;
}

/** What a bus asks for. @param type one that {@link unassignableType} allows */
export function expressFix(type: number, bus: PciSlot["bus"]): ExpressFix {
	return FIXES[bus][type] ?? "hide";
}

/** Does it. Registers that the capability is too short for are left alone. */
export function fixExpress(registers: ConfigRegisters, capability: Capability, fix: ExpressFix): void {
	const { offset, size } = capability;
	const emulate = (register: number, width: AccessWidth, value: number) => {
		if (register + width <= size) registers.emulate(offset + register, width, value);
	};
	const flags = registers.get(offset + PCI_EXP_FLAGS, 2);
	const retype = (type: number) => registers.emulate(offset + PCI_EXP_FLAGS, 2, type << 4, 0, PCI_EXP_FLAGS_TYPE);
	if (fix === "to-integrated-endpoint") {
		// An integrated endpoint has no link.
		retype(PCI_EXP_TYPE_RC_END);
		emulate(PCI_EXP_LNKCAP, 4, 0);
		emulate(PCI_EXP_LNKCTL, 2, 0);
		emulate(PCI_EXP_LNKSTA, 2, 0);
		emulate(PCI_EXP_LNKCAP2, 4, 0);
		emulate(PCI_EXP_LNKCTL2, 2, 0);
		emulate(PCI_EXP_LNKSTA2, 2, 0);
	} else if (fix === "to-endpoint") {
		retype(PCI_EXP_TYPE_ENDPOINT);
		emulate(PCI_EXP_LNKCAP, 4, LINK_X1_GEN1);
		emulate(PCI_EXP_LNKCTL, 2, 0);
	}
	// 82599 virtual functions report version 0, which drivers refuse.
	if ((flags & PCI_EXP_FLAGS_VERS) === 0) registers.emulate(offset + PCI_EXP_FLAGS, 2, 1, 0, PCI_EXP_FLAGS_VERS);
}
