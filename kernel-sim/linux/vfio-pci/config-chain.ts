/**
 * The capability lists as the user gets them: what vfio-pci knows, relinked so that the rest is passed over.
 *
 * @module
 */
import {
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_PCIX,
	PCI_CAP_ID_PM,
	PCI_CAPABILITY_LIST,
	PCI_CFG_SPACE_SIZE,
	PCI_PM_PMC,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
	PCI_STD_HEADER_SIZEOF,
} from "../../../core/uapi/pci_regs.ts";
import { clearBits, load, store } from "../../hardware/little-endian.ts";
import { capabilityLength, extendedCapabilityLength } from "./capability-length.ts";
import type { ConfigBits } from "./config-bits.ts";
import { PM_PMC_PME_SUPPORT, permitCapability, permitExtendedCapability } from "./config-permissions.ts";

/** A capability that the user can see. */
export interface VisibleCapability {
	readonly owner: number;
	readonly id: number;
	readonly offset: number;
	readonly extended: boolean;
}

/** How many capabilities fit between the header and the end; a chain that is longer loops. */
const MOST_CAPABILITIES = (PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / 4;
const NOTHING = 0xff;
const EXTENDED_NEXT_SHIFT = 20;
const EXTENDED_NEXT_BITS = 0xfff00000;

/**
 * Walks both lists, gives each visible capability its rules and takes the hidden ones out of the copy's chain.
 *
 * @param shadow the snapshot of the hardware's registers; its next pointers are rewritten
 * @returns in the chain's order
 */
export function layOutCapabilities(bits: ConfigBits, shadow: Uint8Array): VisibleCapability[] {
	// Relinking changes the pointers under the walk.
	const hardware = shadow.slice();
	const visible = layOutStandard(bits, shadow, hardware);
	if (!visible.some(({ id }) => id === PCI_CAP_ID_EXP || id === PCI_CAP_ID_PCIX)) return visible;
	return [...visible, ...layOutExtended(bits, shadow, hardware)];
}

function layOutStandard(bits: ConfigBits, shadow: Uint8Array, hardware: Uint8Array): VisibleCapability[] {
	const visible: VisibleCapability[] = [];
	if ((load(hardware, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST) === 0) return visible;
	let previous = PCI_CAPABILITY_LIST;
	let offset = load(hardware, PCI_CAPABILITY_LIST, 1) & 0xfc;
	for (let left = MOST_CAPABILITIES; left > 0 && offset >= PCI_STD_HEADER_SIZEOF; left--) {
		const id = load(hardware, offset, 1);
		if (id === NOTHING) break;
		const next = load(hardware, offset + 1, 1) & 0xfc;
		const length = Math.min(capabilityLength(hardware, id, offset), PCI_CFG_SPACE_SIZE - offset);
		if (length === 0) shadow[previous] = next;
		else {
			if (id === PCI_CAP_ID_PM) clearBits(shadow, offset + PCI_PM_PMC, 2, PM_PMC_PME_SUPPORT);
			visible.push({ owner: permitCapability(bits, id, offset, length, hardware), id, offset, extended: false });
			previous = offset + 1;
		}
		offset = next;
	}
	if (visible.length === 0) clearBits(shadow, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	return visible;
}

function layOutExtended(bits: ConfigBits, shadow: Uint8Array, hardware: Uint8Array): VisibleCapability[] {
	const visible: VisibleCapability[] = [];
	if (hardware.length <= PCI_CFG_SPACE_SIZE || load(hardware, PCI_CFG_SPACE_SIZE, 4) === 0) return visible;
	let previous = 0;
	let offset = PCI_CFG_SPACE_SIZE;
	for (let left = (hardware.length - PCI_CFG_SPACE_SIZE) / 4; left > 0 && offset >= PCI_CFG_SPACE_SIZE; left--) {
		const header = load(hardware, offset, 4);
		if (header === 0 || header === 0xffffffff) break;
		const id = header & 0xffff;
		const next = (header >>> EXTENDED_NEXT_SHIFT) & 0xffc;
		const length = Math.min(extendedCapabilityLength(hardware, id, offset), hardware.length - offset);
		if (length > 0) {
			visible.push({ owner: permitExtendedCapability(bits, id, offset, length), id, offset, extended: true });
			previous = offset;
		} else if (previous !== 0) relink(shadow, previous, next);
		else if (offset === PCI_CFG_SPACE_SIZE) {
			// The list starts at 0x100 whatever is there, so a hidden head stays as an empty link.
			bits.claim(offset, 4);
			bits.hold(offset, 4, 0xffffffff);
			store(shadow, offset, 4, (header & EXTENDED_NEXT_BITS) >>> 0);
			previous = offset;
		}
		offset = next;
	}
	if (visible.length === 0) store(shadow, PCI_CFG_SPACE_SIZE, 4, 0);
	return visible;
}

function relink(shadow: Uint8Array, offset: number, next: number): void {
	store(shadow, offset, 4, ((load(shadow, offset, 4) & ~EXTENDED_NEXT_BITS) | (next << EXTENDED_NEXT_SHIFT)) >>> 0);
}
