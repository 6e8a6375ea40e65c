/**
 * Builders for the capabilities from 0x100 on (PCI Express Base 5.0, section 7.6 and following).
 *
 * @module
 */
import {
	PCI_ACS_CAP,
	PCI_ACS_CR,
	PCI_ACS_RR,
	PCI_ACS_SV,
	PCI_ACS_UF,
	PCI_EXT_CAP_ID_ACS,
	PCI_EXT_CAP_ID_ARI,
	PCI_EXT_CAP_ID_DSN,
	PCI_EXT_CAP_ID_ERR,
	PCI_EXT_CAP_ID_SRIOV,
} from "../../core/uapi/pci_regs.ts";
import type { ExtendedCapability } from "./description.ts";
import { store } from "./little-endian.ts";

/** Where an extended capability goes: left to the layout when left out. */
export interface ExtendedPlace {
	/** A multiple of 4 from 0x100; the first capability must be at 0x100. */
	readonly offset?: number;
}

function extended(
	id: number,
	version: number,
	bytes: Uint8Array,
	place: ExtendedPlace,
	writable?: Uint8Array,
): ExtendedCapability {
	const { offset } = place;
	const at = offset === undefined ? {} : { offset };
	return { id, version, bytes, ...at, ...(writable === undefined ? {} : { writable }) };
}

/** Advanced Error Reporting (PCI Express Base 5.0, section 7.8.4). @param root with the registers of a root port */
export function aer(options: ExtendedPlace & { root?: boolean } = {}): ExtendedCapability {
	const bytes = new Uint8Array(options.root ? 0x38 : 0x2c);
	// The severities and the correctable mask that the specification gives after a reset.
	store(bytes, 0x0c, 4, 0x00462030);
	store(bytes, 0x14, 4, 0x0000e000);
	store(bytes, 0x18, 4, 0x000000a0);
	return extended(PCI_EXT_CAP_ID_ERR, 2, bytes, options);
}

/** Options of {@link acs}. */
export interface AcsOptions extends ExtendedPlace {
	/** What the port can do (`PCI_ACS_*`); all that isolation needs when left out. */
	readonly capable?: number;
	/** What is switched on; all of it when left out, as Linux does when it has an IOMMU. */
	readonly enabled?: number;
}

/** Access Control Services: whether what is below can talk past the IOMMU (PCI Express Base 5.0, section 7.7.8). */
export function acs(options: AcsOptions = {}): ExtendedCapability {
	const bytes = new Uint8Array(8);
	const capable = options.capable ?? PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF;
	store(bytes, PCI_ACS_CAP, 2, capable);
	store(bytes, PCI_ACS_CAP + 2, 2, (options.enabled ?? capable) & capable);
	return extended(PCI_EXT_CAP_ID_ACS, 1, bytes, options);
}

/**
 * Alternative Routing-ID Interpretation (PCI Express Base 5.0, section 7.8.7).
 *
 * @param options `next`: the number of the next function, 0 for none
 */
export function ari(options: ExtendedPlace & { next?: number } = {}): ExtendedCapability {
	const bytes = new Uint8Array(8);
	store(bytes, 5, 1, options.next ?? 0);
	return extended(PCI_EXT_CAP_ID_ARI, 1, bytes, options);
}

/** Device Serial Number (PCI Express Base 5.0, section 7.9.3). @param options `serial`: 64 bits, an EUI-64 */
export function serialNumber(options: ExtendedPlace & { serial: bigint }): ExtendedCapability {
	const bytes = new Uint8Array(12);
	new DataView(bytes.buffer).setBigUint64(4, options.serial, true);
	return extended(PCI_EXT_CAP_ID_DSN, 1, bytes, options);
}

/** Options of {@link sriov}. */
export interface SriovOptions extends ExtendedPlace {
	readonly totalVfs: number;
	/** Device id of the virtual functions. */
	readonly vfDevice: number;
	/** Routing id of the first virtual function relative to this one's, and the distance between them. */
	readonly firstVfOffset?: number;
	readonly vfStride?: number;
	/** Bytes of each BAR of one virtual function, all of them 64 bits wide. */
	readonly vfBars?: readonly { readonly index: number; readonly size: number; readonly prefetchable?: boolean }[];
}

/** Single Root I/O Virtualization (PCI Express Base 5.0, section 9.3.3). */
export function sriov(options: SriovOptions): ExtendedCapability {
	const bytes = new Uint8Array(0x40);
	const writable = new Uint8Array(0x40);
	store(bytes, 0x0c, 2, options.totalVfs);
	store(bytes, 0x0e, 2, options.totalVfs);
	store(bytes, 0x14, 2, options.firstVfOffset ?? 1);
	store(bytes, 0x16, 2, options.vfStride ?? 1);
	store(bytes, 0x1a, 2, options.vfDevice);
	store(bytes, 0x1c, 4, 0x00000553);
	store(bytes, 0x20, 4, 0x00000001);
	store(writable, 0x08, 2, 0x0019);
	store(writable, 0x10, 2, 0xffff);
	store(writable, 0x20, 4, 0xffffffff);
	for (const bar of options.vfBars ?? []) {
		const register = 0x24 + 4 * bar.index;
		const mask = BigInt.asUintN(64, ~(BigInt(bar.size) - 1n));
		store(bytes, register, 4, bar.prefetchable ? 0xc : 0x4);
		store(writable, register, 4, Number(BigInt.asUintN(32, mask)));
		store(writable, register + 4, 4, Number(mask >> 32n));
	}
	return extended(PCI_EXT_CAP_ID_SRIOV, 1, bytes, options, writable);
}

/** Any other extended capability, by its bytes, the header of four included. */
export function rawExtendedCapability(
	options: { id: number; version?: number; bytes: Uint8Array; writable?: Uint8Array } & ExtendedPlace,
): ExtendedCapability {
	return extended(options.id, options.version ?? 1, options.bytes, options, options.writable);
}
