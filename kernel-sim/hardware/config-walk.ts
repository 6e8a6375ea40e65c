/**
 * Finding the capabilities in the bytes of a configuration space that nobody vouches for: chains may loop, point into
 * the header or be all ones, and the walk ends all the same.
 *
 * @module
 */
import {
	PCI_CAPABILITY_LIST,
	PCI_CFG_SPACE_SIZE,
	PCI_HEADER_TYPE,
	PCI_HEADER_TYPE_CARDBUS,
	PCI_HEADER_TYPE_MASK,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
	PCI_STD_HEADER_SIZEOF,
} from "../../core/uapi/pci_regs.ts";
import { load } from "./little-endian.ts";

/** A capability and where it is. */
export interface FoundCapability {
	readonly id: number;
	/** Of extended capabilities; 0 otherwise. */
	readonly version: number;
	readonly offset: number;
}

const CARDBUS_CAPABILITY_LIST = 0x14;

/** The capabilities of the first 256 bytes, in the chain's order. */
export function walkCapabilities(config: Uint8Array): FoundCapability[] {
	const found: FoundCapability[] = [];
	if ((load(config, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST) === 0) return found;
	const header = (config[PCI_HEADER_TYPE] ?? 0) & PCI_HEADER_TYPE_MASK;
	const head = header === PCI_HEADER_TYPE_CARDBUS ? CARDBUS_CAPABILITY_LIST : PCI_CAPABILITY_LIST;
	const seen = new Set<number>();
	let offset = (config[head] ?? 0) & 0xfc;
	while (offset >= PCI_STD_HEADER_SIZEOF && !seen.has(offset)) {
		const id = config[offset] ?? 0xff;
		if (id === 0xff) break;
		seen.add(offset);
		found.push({ id, version: 0, offset });
		offset = (config[offset + 1] ?? 0) & 0xfc;
	}
	return found;
}

/** The capabilities from 0x100 on, in the chain's order; none when the configuration space ends there. */
export function walkExtendedCapabilities(config: Uint8Array): FoundCapability[] {
	const found: FoundCapability[] = [];
	const seen = new Set<number>();
	let offset = PCI_CFG_SPACE_SIZE;
	while (offset >= PCI_CFG_SPACE_SIZE && offset + 4 <= config.length && !seen.has(offset)) {
		const header = load(config, offset, 4);
		if (header === 0 || header === 0xffffffff) break;
		seen.add(offset);
		found.push({ id: header & 0xffff, version: (header >>> 16) & 0xf, offset });
		offset = (header >>> 20) & 0xffc;
	}
	return found;
}

/** Where the first capability with this id is, or 0. */
export function findCapability(config: Uint8Array, id: number): number {
	return walkCapabilities(config).find((capability) => capability.id === id)?.offset ?? 0;
}

/** Where the first extended capability with this id is, or 0. */
export function findExtendedCapability(config: Uint8Array, id: number): number {
	return walkExtendedCapabilities(config).find((capability) => capability.id === id)?.offset ?? 0;
}
