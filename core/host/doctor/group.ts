/**
 * The IOMMU group of a device: who else is in it, and whether that keeps it from being assigned.
 *
 * @module
 */

import type { GroupMember } from "../groups.ts";
import { groupOf } from "../groups.ts";
import { FIRMWARE_REMEDY, reservedRegions } from "../reserved-regions.ts";
import { inTheWay, wayOut } from "../viability.ts";
import { type Check, type DeviceSubject, evidence, namesIn, type Outcome, obstacle, outcomeOf } from "./check.ts";
import { countGroups } from "./iommu.ts";

const GROUPS = "/sys/kernel/iommu_groups";

/** Which devices share the group, and which of them are in the way. */
export const GROUP: Check<DeviceSubject> = {
	item: "IOMMU group",
	examine(subject) {
		const { kernel, group, members, name } = subject;
		if (group === undefined) return noGroup(subject);
		// VFIO itself makes such a group for a device without an IOMMU, when enable_unsafe_noiommu_mode is on.
		if (evidence(kernel, `${GROUPS}/${group}/name`) === "vfio-noiommu")
			return {
				level: obstacle(subject),
				text: `Group ${group} is a no-IOMMU group: nothing translates the device's DMA`,
			};
		const others = members.filter((member) => member.name !== name);
		if (others.length === 0) return { level: "ok", text: `Group ${group}, alone in it` };
		const text = `Group ${group}, with ${others.map(describe).join(", ")}`;
		const blockers = inTheWay(others);
		if (blockers.length === 0) return { level: "ok", text };
		return {
			level: obstacle(subject),
			text: `${text}: ${blockers.map((member) => member.name).join(", ")} must leave the host's driver first`,
			remedy: blockers.flatMap(wayOut),
		};
	},
};

function noGroup(subject: DeviceSubject): Outcome {
	const { kernel, name } = subject;
	if (countGroups(kernel) === 0) return { level: obstacle(subject), text: "None, since no IOMMU is on" };
	try {
		groupOf(kernel, name);
	} catch (error) {
		return outcomeOf(error, obstacle(subject));
	}
	return { level: "unknown", text: "It joined a group just now" };
}

function describe(member: GroupMember): string {
	if (member.bridge) return `${member.name} (bridge or port)`;
	return `${member.name} (${member.driver ?? "no driver"})`;
}

/** Addresses that the group keeps for itself, where no guest memory can be mapped, beyond the window of messages. */
export const RESERVED_REGIONS: Check<DeviceSubject> = {
	item: "reserved addresses",
	examine(subject) {
		const { kernel, group } = subject;
		if (group === undefined || namesIn(kernel, `${GROUPS}/${group}`) === undefined) return undefined;
		const regions = reservedRegions(kernel, group);
		if (regions === undefined || regions.every(({ kind }) => kind === "msi")) return undefined;
		const list = regions.map(({ range, kind }) => `${range} (${KINDS[kind] ?? kind})`).join(", ");
		if (!regions.some(({ kind }) => kind === "direct")) return { level: "ok", text: `No guest memory at ${list}` };
		return {
			level: obstacle(subject),
			text: `The firmware itself wants the device to reach memory, so Linux does not assign it: ${list}`,
			remedy: FIRMWARE_REMEDY,
		};
	},
};

const KINDS: Readonly<Record<string, string>> = {
	msi: "messages",
	direct: "the firmware's",
	"direct-relaxable": "legacy, given up when it is assigned",
};
