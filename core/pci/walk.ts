/**
 * Bounded walks over capability lists. A list may come from a hostile device or from a kernel with a bug, so each walk
 * ends by itself and says what stopped it (PCI Local Bus 3.0, 6.7; PCI Express Base, 7.6.3).
 *
 * @module
 */
import { hex, load } from "../bytes.ts";
import {
	PCI_CAPABILITY_LIST,
	PCI_CFG_SPACE_SIZE,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
	PCI_STD_HEADER_SIZEOF,
} from "../uapi/pci_regs.ts";

/** A capability of the list that starts at 0x34. */
export interface Capability {
	/** `PCI_CAP_ID_*`. */
	readonly id: number;
	/** 0x40 to 0xfc. */
	readonly offset: number;
	/** Bytes up to the next higher capability, or to 0x100: what it may occupy at most. */
	readonly size: number;
}

/** A capability of the list that starts at 0x100. */
export interface ExtendedCapability extends Capability {
	readonly version: number;
}

/** What a walk found before it ended. */
export interface Walk<C extends Capability> {
	/** In the order of the list. */
	readonly capabilities: readonly C[];
	/** Why it ended early; undefined when the list was in order. */
	readonly problem: string | undefined;
}

/**
 * Walks the standard list (PCI Local Bus 3.0, section 6.7). Pointers lose their two reserved bits; the walk ends at the
 * first pointer into the header, at the first repeat and at a capability that reads all ones.
 *
 * @param config at least 256 bytes
 */
export function walkCapabilities(config: Uint8Array): Walk<Capability> {
	const found: { id: number; offset: number }[] = [];
	let problem: string | undefined;
	const listed = (load(config, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST) !== 0;
	// One slot for each dword from 0x40 to 0xfc: 48, so the walk has at most 48 steps.
	const visited = new Uint8Array(48);
	let from = PCI_CAPABILITY_LIST;
	let offset = listed ? load(config, PCI_CAPABILITY_LIST, 1) & 0xfc : 0;
	while (offset !== 0) {
		if (offset < PCI_STD_HEADER_SIZEOF) {
			problem = `The capability pointer at ${hex(from)} leads to ${hex(offset)}, below 0x40: the list ends there`;
			break;
		}
		const slot = (offset - PCI_STD_HEADER_SIZEOF) >> 2;
		if (visited[slot] === 1) {
			problem = `The capability list loops: the pointer at ${hex(from)} leads back to ${hex(offset)}; it ends there`;
			break;
		}
		visited[slot] = 1;
		const id = load(config, offset, 1);
		if (id === 0xff) {
			problem = `The capability at ${hex(offset)} reads all ones: the list ends there`;
			break;
		}
		found.push({ id, offset });
		from = offset + 1;
		offset = load(config, from, 1) & 0xfc;
	}
	return { capabilities: measure(found, PCI_CFG_SPACE_SIZE), problem };
}

/**
 * Walks the extended list (PCI Express Base 5.0, section 7.6).
 *
 * @param config the whole configuration space; a space of 256 bytes has no extended capabilities
 */
export function walkExtendedCapabilities(config: Uint8Array): Walk<ExtendedCapability> {
	const found: { id: number; offset: number; version: number }[] = [];
	let problem: string | undefined;
	const visited = new Uint8Array(config.length >> 2);
	let from = 0;
	let offset = config.length > PCI_CFG_SPACE_SIZE && load(config, PCI_CFG_SPACE_SIZE, 4) !== 0 ? PCI_CFG_SPACE_SIZE : 0;
	while (offset !== 0) {
		if (offset < PCI_CFG_SPACE_SIZE || offset + 4 > config.length) {
			problem = `The extended capability at ${hex(from)} points to ${hex(offset)}, below 0x100: the list ends there`;
			break;
		}
		if (visited[offset >> 2] === 1) {
			problem = `The extended capability list loops: ${hex(from)} leads back to ${hex(offset)}; it ends there`;
			break;
		}
		visited[offset >> 2] = 1;
		const header = load(config, offset, 4);
		if (header === 0xffffffff) {
			problem = `The extended capability at ${hex(offset)} reads all ones: the list ends there`;
			break;
		}
		found.push({ id: header & 0xffff, offset, version: (header >>> 16) & 0xf });
		from = offset;
		offset = (header >>> 20) & 0xffc;
	}
	return { capabilities: measure(found, config.length), problem };
}

/** Adds to each its distance to the next higher one. */
export function measure<T extends { readonly offset: number }>(
	found: readonly T[],
	end: number,
): (T & { size: number })[] {
	const offsets = found.map((capability) => capability.offset).sort((a, b) => a - b);
	return found.map((capability) => {
		const next = offsets.find((offset) => offset > capability.offset) ?? end;
		return { ...capability, size: next - capability.offset };
	});
}
