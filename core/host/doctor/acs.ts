/**
 * Why devices share an IOMMU group: where PCI Express lets them reach each other past the IOMMU, which Access Control
 * Services (ACS) prevent, and where a bridge makes their requests look alike (PCI Express Base 5.0, 6.12).
 *
 * @module
 */
import { load } from "../../bytes.ts";
import { walkCapabilities, walkExtendedCapabilities } from "../../pci/walk.ts";
import {
	PCI_ACS_CAP,
	PCI_ACS_CR,
	PCI_ACS_RR,
	PCI_ACS_SV,
	PCI_ACS_UF,
	PCI_CAP_ID_EXP,
	PCI_CFG_SPACE_SIZE,
	PCI_EXP_FLAGS,
	PCI_EXP_FLAGS_TYPE,
	PCI_EXP_TYPE_DOWNSTREAM,
	PCI_EXP_TYPE_PCI_BRIDGE,
	PCI_EXP_TYPE_PCIE_BRIDGE,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXT_CAP_ID_ACS,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_MFD,
} from "../../uapi/pci_regs.ts";
import type { PciSysfs } from "../sysfs.ts";
import type { Check, DeviceSubject, Outcome } from "./check.ts";

/** Source validation, and what sends a request for a peer up to the IOMMU. */
const REQUIRED = PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF;

/** What a function's registers say about keeping devices apart. */
export type Isolation = "isolated" | "no ACS" | "ACS off" | "conventional" | "unreadable";

/**
 * Whether a function keeps what is behind it, or beside it, from reaching each other.
 *
 * @param config its configuration space: 64 bytes of it, which is what everybody may read, do not tell
 * @param multifunction there are other functions in its slot
 */
export function isolationOf(config: Uint8Array, multifunction: boolean): Isolation {
	if (config.length < PCI_CFG_SPACE_SIZE) return "unreadable";
	const express = walkCapabilities(config).capabilities.find(({ id }) => id === PCI_CAP_ID_EXP);
	if (!express) return "conventional";
	const type = (load(config, express.offset + PCI_EXP_FLAGS, 2) & PCI_EXP_FLAGS_TYPE) >> 4;
	if (type === PCI_EXP_TYPE_PCI_BRIDGE || type === PCI_EXP_TYPE_PCIE_BRIDGE) return "conventional";
	const port = type === PCI_EXP_TYPE_ROOT_PORT || type === PCI_EXP_TYPE_DOWNSTREAM;
	if (!port && !multifunction) return "isolated";
	const acs = walkExtendedCapabilities(config).capabilities.find(({ id }) => id === PCI_EXT_CAP_ID_ACS);
	if (!acs) return "no ACS";
	// What the function has no bit for, it does not do in the first place.
	const required = REQUIRED & load(config, acs.offset + PCI_ACS_CAP, 2);
	return (load(config, acs.offset + PCI_ACS_CAP + 2, 2) & required) === required ? "isolated" : "ACS off";
}

/** What keeps the device apart from others, or does not. */
export const ACS: Check<DeviceSubject> = {
	item: "ACS",
	examine({ pci, name, group, members }) {
		if (group === undefined) return undefined;
		const bridges = pci.bridgesAbove(name);
		const others = members.filter((member) => member.name !== name && !member.bridge);
		if (others.length === 0) return apart(pci, bridges);
		return shared(pci, name, bridges, new Set(members.map((member) => member.name)));
	},
};

function apart(pci: PciSysfs, bridges: readonly string[]): Outcome {
	const text = "Linux keeps it apart from all other devices";
	const lacking = bridges.filter((bridge) => isWeak(isolation(pci, bridge)));
	return { level: "ok", text: lacking.length === 0 ? text : `${text}, though ${lacking.join(", ")} shows no ACS` };
}

function shared(pci: PciSysfs, name: string, bridges: readonly string[], group: ReadonlySet<string>): Outcome {
	// A device is merged with the bridge that does not tell it from others, and with whatever that bridge is merged with.
	const above = statesOf(
		pci,
		bridges.filter((bridge) => group.has(bridge)),
	);
	const slot = name.slice(0, -1);
	const inSlot = [...group].filter((other) => other.startsWith(slot)).sort();
	const beside = statesOf(pci, inSlot.length > 1 ? inSlot : []);
	const reasons = [
		...[...above].flatMap(([bridge, state]) => (isWeak(state) ? [aboutBridge(bridge, state)] : [])),
		...aboutSlot(beside),
	];
	const text = "It shares its group";
	if (reasons.length > 0)
		return {
			level: "warning",
			text: `${text}: ${reasons.join("; ")}`,
			remedy: [
				"Assign the whole group, or leave the rest of it without drivers.",
				"To have the device alone, put it into a slot behind a port with ACS, or look for ACS in the firmware setup.",
			],
		};
	if ([...above.values(), ...beside.values()].includes("unreadable"))
		return { level: "unknown", text: `${text}; only root can read the registers that say why` };
	return { level: "warning", text: `${text}, and no port above it nor function beside it shows why` };
}

function statesOf(pci: PciSysfs, names: readonly string[]): ReadonlyMap<string, Isolation> {
	return new Map(names.map((name) => [name, isolation(pci, name)]));
}

function aboutBridge(name: string, state: Isolation): string {
	if (state === "conventional") return `bridge ${name} leads to conventional PCI, behind which all requests look alike`;
	return state === "no ACS" ? `port ${name} has no ACS` : `port ${name} has its ACS switched off`;
}

/** A sentence for each kind of weakness, with all functions that have it. */
function aboutSlot(states: ReadonlyMap<string, Isolation>): string[] {
	return Object.entries(BETWEEN_FUNCTIONS).flatMap(([state, text]) => {
		const names = [...states].filter(([, one]) => one === state).map(([name]) => name);
		return names.length === 0 ? [] : [`${text} the functions of its slot (${names.join(", ")})`];
	});
}

const BETWEEN_FUNCTIONS: Readonly<Partial<Record<Isolation, string>>> = {
	"no ACS": "no ACS between",
	"ACS off": "ACS is switched off between",
	conventional: "conventional PCI has no ACS between",
};

function isolation(pci: PciSysfs, name: string): Isolation {
	const config = pci.config(name);
	const virtual = pci.isVirtualFunction(name);
	const several = !name.endsWith(".0") || ((config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MFD) !== 0;
	return isolationOf(config, several && !virtual);
}

function isWeak(state: Isolation): boolean {
	return state !== "isolated" && state !== "unreadable";
}
