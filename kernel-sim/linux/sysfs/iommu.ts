/**
 * IOMMUs and their groups in sysfs.
 *
 * @module
 */
import { EACCES, EINVAL, EPERM } from "../../../core/uapi/errno.ts";
import type { BusDevice } from "../device.ts";
import { type FileSystem, relativeLink } from "../filesystem.ts";
import type { IommuGroup } from "../iommu-group.ts";
import type { SimProcess } from "../process.ts";
import { hex } from "../text.ts";
import { addIommuRegisters, type IommuUnitState } from "./iommu-registers.ts";

const UNIT = "/sys/devices/virtual/iommu/dmar0";
const GROUPS = "/sys/kernel/iommu_groups";
const DEFAULT_TYPE = "DMA";
const TYPES: ReadonlyMap<string, string> = new Map([
	["identity", "identity"],
	["DMA", "DMA"],
	["DMA-FQ", "DMA-FQ"],
	["auto", DEFAULT_TYPE],
]);

/** Makes the directories that are there on a host with an IOMMU, or are empty on one without. @param unit the IOMMU */
export function addIommuDirectories(files: FileSystem, unit: IommuUnitState | undefined): void {
	files.directory(GROUPS);
	files.directory("/sys/class/iommu");
	if (!unit) return;
	files.directory(`${UNIT}/devices`);
	addIommuRegisters(files, `${UNIT}/intel-iommu`, unit);
	link(files, `${UNIT}/subsystem`, "/sys/class/iommu");
	link(files, "/sys/class/iommu/dmar0", UNIT);
}

/** Makes the directory of a group. */
export function addGroupDirectory(files: FileSystem, group: IommuGroup): void {
	const path = groupPath(group);
	files.directory(`${path}/devices`);
	if (group.name !== undefined) files.text(`${path}/name`, group.name);
	files.attribute(`${path}/type`, {
		show: () => `${group.type}\n`,
		store: (text, process) => setType(group, text, process),
	});
	files.attribute(`${path}/reserved_regions`, { show: () => reservedRegions(group) });
}

/** Removes the directory of a group that has no devices left. */
export function removeGroupDirectory(files: FileSystem, group: IommuGroup): void {
	files.remove(groupPath(group));
}

/** A device joins its group. */
export function addGroupMember(files: FileSystem, group: IommuGroup, device: BusDevice): void {
	link(files, `${groupPath(group)}/devices/${device.name}`, device.syspath);
	link(files, `${device.syspath}/iommu_group`, groupPath(group));
	if (group.emulated || group.noIommu) return;
	link(files, `${UNIT}/devices/${device.name}`, device.syspath);
	link(files, `${device.syspath}/iommu`, UNIT);
}

/** A device leaves its group. */
export function removeGroupMember(files: FileSystem, group: IommuGroup, device: BusDevice): void {
	files.remove(`${groupPath(group)}/devices/${device.name}`);
	files.remove(`${device.syspath}/iommu_group`);
	if (!group.emulated && !group.noIommu) files.remove(`${UNIT}/devices/${device.name}`);
}

function link(files: FileSystem, from: string, to: string): void {
	files.link(from, relativeLink(from, to));
}

function groupPath(group: IommuGroup): string {
	return `${GROUPS}/${group.id}`;
}

function setType(group: IommuGroup, text: string, process: SimProcess): number {
	if (!process.capable("CAP_SYS_ADMIN") || !process.capable("CAP_SYS_RAWIO")) return -EACCES;
	const type = TYPES.get(text.replace(/\n$/, ""));
	if (type === undefined) return -EINVAL;
	// The one change that does not disturb mappings: they are flushed later from then on.
	const lazier = type === "DMA-FQ" && group.type === "DMA";
	if (!lazier && group.owned) return -EPERM;
	group.type = type;
	return 0;
}

function reservedRegions(group: IommuGroup): string {
	return [...group.reserved]
		.sort((a, b) => (a.start < b.start ? -1 : 1))
		.map(({ start, end, kind }) => `0x${hex(start, 16)} 0x${hex(end, 16)} ${kind}\n`)
		.join("");
}
