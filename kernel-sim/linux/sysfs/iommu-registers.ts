/**
 * The registers of the IOMMU that sysfs shows for an Intel one (Intel VT-d 4.1, sections 11.4.2 and 11.4.3).
 *
 * @module
 */
import type { InterruptController } from "../../hardware/interrupts.ts";
import type { Iommu } from "../../hardware/iommu.ts";
import type { FileSystem } from "../filesystem.ts";
import type { IommuGroup } from "../iommu-group.ts";

/** Where the registers are in memory. */
const ADDRESS = 0xfed90000;
/** CAP but for what the IOMMU's options decide: 65536 domains, read and write draining, selective invalidation. */
const CAPABILITIES = 0xd2008022000086n;
const ADDRESS_WIDTH_SHIFT = 16n;
const LEVELS_3 = 0x0200n;
const LEVELS_4 = 0x0400n;
const LEVELS_5 = 0x0800n;
const PAGES_2M = 0x4_0000_0000n;
const PAGES_1G = 0x8_0000_0000n;
/** ECAP: queued invalidation, and what comes with it. */
const EXTENDED = 0xf00f42n;
const REMAPS_INTERRUPTS = 0x8n;
const CONTROLS_SNOOPING = 0x80n;
const DOMAINS = 65536;
/** Domain ids that the driver keeps to itself. */
const RESERVED_DOMAINS = 2;

/** What the files are about. */
export interface IommuUnitState {
	readonly iommu: Iommu;
	readonly interrupts: InterruptController;
	readonly groups: () => Iterable<IommuGroup>;
	/** It can force DMA to be coherent with the caches. */
	readonly snoopControl: boolean;
}

/** Makes the files. @param directory such as `/sys/devices/virtual/iommu/dmar0/intel-iommu` */
export function addIommuRegisters(files: FileSystem, directory: string, unit: IommuUnitState): void {
	const { groups } = unit;
	const { cap, ecap } = iommuRegisters(unit);
	files.text(`${directory}/version`, "1:0");
	files.text(`${directory}/address`, ADDRESS.toString(16));
	files.text(`${directory}/cap`, cap.toString(16));
	files.text(`${directory}/ecap`, ecap.toString(16));
	files.text(`${directory}/domains_supported`, String(DOMAINS));
	files.attribute(`${directory}/domains_used`, { show: () => `${RESERVED_DOMAINS + domains(groups())}\n` });
}

/** CAP and ECAP. */
export function iommuRegisters(unit: Omit<IommuUnitState, "groups">): { cap: bigint; ecap: bigint } {
	const { iommu, interrupts, snoopControl } = unit;
	const remapping = interrupts.remapping ? REMAPS_INTERRUPTS : 0n;
	const snooping = snoopControl ? CONTROLS_SNOOPING : 0n;
	return { cap: capabilities(iommu), ecap: EXTENDED | remapping | snooping };
}

function capabilities({ addressWidth, pageSizes }: Iommu): bigint {
	const width = BigInt(addressWidth - 1) << ADDRESS_WIDTH_SHIFT;
	const levels = LEVELS_3 | (addressWidth >= 48 ? LEVELS_4 : 0n) | (addressWidth >= 57 ? LEVELS_5 : 0n);
	const pages = (offers(pageSizes, 21n) ? PAGES_2M : 0n) | (offers(pageSizes, 30n) ? PAGES_1G : 0n);
	return CAPABILITIES | width | levels | pages;
}

function offers(pageSizes: bigint, shift: bigint): boolean {
	return ((pageSizes >> shift) & 1n) === 1n;
}

/** One for each group that the kernel has, one for each page table of a user. */
function domains(groups: Iterable<IommuGroup>): number {
	let own = 0;
	const users = new Set<object>();
	for (const { domain, owner } of groups)
		if (domain) users.add(domain);
		else if (!owner) own++;
	return own + users.size;
}
