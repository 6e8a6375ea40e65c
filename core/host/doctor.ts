/**
 * Is this host ready to assign a device? Looks, and changes nothing.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { formatPciAddress, parsePciAddress } from "./address.ts";
import { ACS } from "./doctor/acs.ts";
import {
	type Check,
	type DeviceSubject,
	type Finding,
	type HostSubject,
	type Outcome,
	outcomeOf,
} from "./doctor/check.ts";
import { answers, BARS_CHECK, IDENTITY, RESET } from "./doctor/device.ts";
import { DRIVER, DRIVER_OVERRIDE } from "./doctor/driver.ts";
import { GROUP, RESERVED_REGIONS } from "./doctor/group.ts";
import { INTERRUPT_REMAPPING } from "./doctor/interrupt-remapping.ts";
import { IOMMU } from "./doctor/iommu.ts";
import { LOCKED_MEMORY } from "./doctor/locked-memory.ts";
import { MODULES } from "./doctor/modules.ts";
import { CONTAINER_NODE, GROUP_NODE } from "./doctor/nodes.ts";
import { groupMembers, groupOf } from "./groups.ts";
import { PciSysfs, unlessGone } from "./sysfs.ts";

export type { Check, DeviceSubject, Finding, FindingLevel, HostSubject, Outcome } from "./doctor/check.ts";

/** What the host as a whole needs, in the order of the report. */
export const HOST_CHECKS: readonly Check<HostSubject>[] = [
	IOMMU,
	INTERRUPT_REMAPPING,
	...MODULES,
	CONTAINER_NODE,
	LOCKED_MEMORY,
];

/** What each device needs, in the order of the report. */
export const DEVICE_CHECKS: readonly Check<DeviceSubject>[] = [
	IDENTITY,
	GROUP,
	RESERVED_REGIONS,
	ACS,
	DRIVER,
	DRIVER_OVERRIDE,
	GROUP_NODE,
	RESET,
	BARS_CHECK,
];

/** What {@link examineHost} looks at. */
export interface DoctorOptions {
	/** Devices that are to be assigned, such as `05:00.0`; all assignable endpoints when left out. */
	readonly devices?: readonly string[];
	/** Bytes of guest memory that will be mapped for DMA; 16 MiB when left out. */
	readonly memory?: bigint;
}

const DEFAULT_MEMORY = 16n << 20n;
/** Host, ISA and other bridges, which stay with the host. */
const PCI_BASE_CLASS_BRIDGE = 0x06;

/**
 * Looks at a host, item by item: what is right, and what to do about the rest. What cannot be read is a finding, too. It
 * changes nothing; it opens the VFIO nodes for a moment to see whether this process may.
 *
 * @returns the findings about the host first, then those of each device
 * @throws VfioError `malformed-address`
 * @example
 * ```ts
 * for (const { level, item, text, remedy } of examineHost(kernel, { devices: ["05:00.0"], memory: 4n << 30n }))
 *   console.log(level, item, text, remedy.join("; "));
 * ```
 */
export function examineHost(kernel: Kernel, options: DoctorOptions = {}): Finding[] {
	const asked = options.devices?.map((address) => formatPciAddress(parsePciAddress(address)));
	const host: HostSubject = { kernel, memory: options.memory ?? DEFAULT_MEMORY };
	const names = [...new Set(asked ?? assignableEndpoints(kernel))];
	return [
		...HOST_CHECKS.flatMap((check) => carryOut(check, host)),
		...names.flatMap((name) => examineDevice(kernel, name, asked !== undefined)),
	];
}

/** The functions of a host that may be assigned: all but bridges, whatever driver they have. */
export function assignableEndpoints(kernel: Kernel): string[] {
	const pci = new PciSysfs(kernel);
	return pci
		.devices()
		.filter((name) => unlessGone(() => !isBridge(pci, name) && pci.ids(name).class >> 16 !== PCI_BASE_CLASS_BRIDGE));
}

function examineDevice(kernel: Kernel, name: string, asked: boolean): Finding[] {
	const about = (finding: Finding): Finding => ({ ...finding, device: name });
	const only = (outcome: Outcome) => [about({ item: IDENTITY.item, remedy: [], ...outcome })];
	const pci = new PciSysfs(kernel);
	try {
		const group = groupIfAny(kernel, name);
		if (isBridge(pci, name)) return only(BRIDGE);
		const members = group === undefined ? [] : groupMembers(kernel, group);
		const subject: DeviceSubject = { kernel, pci, name, asked, group, members };
		return DEVICE_CHECKS.flatMap((check) => carryOut(check, subject)).map(about);
	} catch (error) {
		return only(outcomeOf(error, "problem"));
	}
}

/** What does not answer is a problem of its own, whatever it was. */
function isBridge(pci: PciSysfs, name: string): boolean {
	return answers(pci, name) && pci.isBridge(name);
}

const BRIDGE: Outcome = {
	level: "problem",
	text: "A bridge or a port, which VFIO does not assign",
	remedy: ["Assign a function behind it instead: lspci -t shows the tree."],
};

function groupIfAny(kernel: Kernel, name: string): number | undefined {
	try {
		return groupOf(kernel, name);
	} catch (error) {
		if (error instanceof VfioError && error.code === "no-iommu-group") return undefined;
		throw error;
	}
}

/** A check that the kernel does not let look has found something as well: that it cannot be told. */
function carryOut<Subject>(check: Check<Subject>, subject: Subject): Finding[] {
	try {
		const outcome = check.examine(subject);
		return outcome ? [{ item: check.item, remedy: [], ...outcome }] : [];
	} catch (error) {
		return [{ item: check.item, remedy: [], ...outcomeOf(error, "unknown") }];
	}
}
