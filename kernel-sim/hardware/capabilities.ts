/**
 * Builders for the capabilities in the first 256 bytes: each lays out one from what a person knows about it.
 *
 * @module
 */
import { VfioError } from "../../core/errors.ts";
import {
	PCI_AF_CAP,
	PCI_AF_CAP_FLR,
	PCI_AF_CAP_TP,
	PCI_CAP_ID_AF,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PM,
	PCI_CAP_ID_SSVID,
	PCI_CAP_ID_VNDR,
	PCI_CAP_ID_VPD,
	PCI_EXP_DEVCAP,
	PCI_EXP_DEVCAP_FLR,
	PCI_EXP_FLAGS,
	PCI_EXP_LNKCAP,
	PCI_EXP_LNKCAP2,
	PCI_EXP_LNKCTL2,
	PCI_EXP_LNKSTA,
	PCI_EXP_SLTCAP,
	PCI_EXP_TYPE_DOWNSTREAM,
	PCI_EXP_TYPE_ENDPOINT,
	PCI_EXP_TYPE_LEG_END,
	PCI_EXP_TYPE_PCI_BRIDGE,
	PCI_EXP_TYPE_RC_END,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXP_TYPE_UPSTREAM,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_64BIT,
	PCI_MSI_FLAGS_MASKBIT,
	PCI_MSIX_FLAGS,
	PCI_MSIX_PBA,
	PCI_MSIX_TABLE,
	PCI_PM_CTRL,
	PCI_PM_CTRL_NO_SOFT_RESET,
	PCI_PM_PMC,
} from "../../core/uapi/pci_regs.ts";
import type { Capability } from "./description.ts";
import { store } from "./little-endian.ts";
import type { MsixDescription } from "./model.ts";
import { msiLength } from "./msi-unit.ts";

/** Where a capability goes: left to the layout when left out. */
export interface CapabilityPlace {
	/** A multiple of 4, 0x40 to 0xfc. */
	readonly offset?: number;
}

function capability(id: number, bytes: Uint8Array, place: CapabilityPlace, writable?: Uint8Array): Capability {
	const { offset } = place;
	return { id, bytes, ...(offset === undefined ? {} : { offset }), ...(writable === undefined ? {} : { writable }) };
}

/** Options of {@link pm}. */
export interface PmOptions extends CapabilityPlace {
	/** The state survives D3hot to D0 (then `pm` is no reset method); false when left out. */
	readonly noSoftReset?: boolean;
	/** D1 and D2 exist. */
	readonly d1?: boolean;
	readonly d2?: boolean;
	/** It can signal PME# from D3hot. */
	readonly pme?: boolean;
}

/** Power Management, version 3 (PCI Power Management 1.2, section 3.2). */
export function pm(options: PmOptions = {}): Capability {
	const bytes = new Uint8Array(8);
	const pmc = 3 | (options.d1 ? 0x0200 : 0) | (options.d2 ? 0x0400 : 0) | (options.pme ? 0x4000 : 0);
	store(bytes, PCI_PM_PMC, 2, pmc);
	store(bytes, PCI_PM_CTRL, 2, options.noSoftReset ? PCI_PM_CTRL_NO_SOFT_RESET : 0);
	return capability(PCI_CAP_ID_PM, bytes, options);
}

/** Options of {@link msi}. */
export interface MsiOptions extends CapabilityPlace {
	/** 1, 2, 4, 8, 16 or 32; 1 when left out. */
	readonly vectors?: number;
	/** Takes addresses of 64 bits; true when left out. */
	readonly address64?: boolean;
	/** Single vectors can be masked; false when left out. */
	readonly maskable?: boolean;
}

/** Message Signalled Interrupts (PCI Local Bus 3.0, section 6.8.1). @throws VfioError `invalid-argument` */
export function msi(options: MsiOptions = {}): Capability {
	const exponent = Math.log2(options.vectors ?? 1);
	if (!Number.isInteger(exponent) || exponent < 0 || exponent > 5)
		throw new VfioError(
			"invalid-argument",
			`Cannot build MSI with ${options.vectors} vectors: not a power of two up to 32`,
		);
	const flags =
		(exponent << 1) |
		((options.address64 ?? true) ? PCI_MSI_FLAGS_64BIT : 0) |
		(options.maskable ? PCI_MSI_FLAGS_MASKBIT : 0);
	const bytes = new Uint8Array(msiLength(flags));
	store(bytes, PCI_MSI_FLAGS, 2, flags);
	return capability(PCI_CAP_ID_MSI, bytes, options);
}

/** MSI-X (PCI Local Bus 3.0, section 6.8.2). @throws VfioError `invalid-argument` */
export function msix(options: MsixDescription & CapabilityPlace): Capability {
	const { vectors, table, pba } = options;
	if (!Number.isInteger(vectors) || vectors < 1 || vectors > 2048)
		throw new VfioError("invalid-argument", `Cannot build MSI-X with ${vectors} vectors: not 1 to 2048`);
	for (const place of [table, pba])
		if (place.bar < 0 || place.bar > 5 || place.offset < 0 || place.offset % 8 !== 0)
			throw new VfioError(
				"invalid-argument",
				`Cannot build MSI-X with a structure at 0x${place.offset.toString(16)} of BAR ${place.bar}: not a multiple of 8 in BAR 0 to 5`,
			);
	const bytes = new Uint8Array(12);
	store(bytes, PCI_MSIX_FLAGS, 2, vectors - 1);
	store(bytes, PCI_MSIX_TABLE, 4, table.offset | table.bar);
	store(bytes, PCI_MSIX_PBA, 4, pba.offset | pba.bar);
	return capability(PCI_CAP_ID_MSIX, bytes, options);
}

const EXPRESS_TYPES = {
	endpoint: PCI_EXP_TYPE_ENDPOINT,
	"legacy-endpoint": PCI_EXP_TYPE_LEG_END,
	"root-port": PCI_EXP_TYPE_ROOT_PORT,
	"upstream-port": PCI_EXP_TYPE_UPSTREAM,
	"downstream-port": PCI_EXP_TYPE_DOWNSTREAM,
	"pcie-to-pci-bridge": PCI_EXP_TYPE_PCI_BRIDGE,
	"root-complex-endpoint": PCI_EXP_TYPE_RC_END,
} as const;

/** Options of {@link express}. */
export interface ExpressOptions extends CapabilityPlace {
	/** `endpoint` when left out. */
	readonly type?: keyof typeof EXPRESS_TYPES;
	/** Of the capability, 1 or 2; 2 when left out. */
	readonly version?: 1 | 2;
	/** Function Level Reset. */
	readonly flr?: boolean;
	/** The number of the slot below a port; no slot when left out. */
	readonly slot?: number;
	/** Lanes, 1 when left out. */
	readonly width?: number;
	/** 1 (2.5 GT/s, the default) to 5 (32 GT/s). */
	readonly speed?: number;
}

/** PCI Express (PCI Express Base 5.0, section 7.5.3). */
export function express(options: ExpressOptions = {}): Capability {
	const type = EXPRESS_TYPES[options.type ?? "endpoint"];
	const version = options.version ?? 2;
	const integrated = type === PCI_EXP_TYPE_RC_END;
	const ports: readonly number[] = [PCI_EXP_TYPE_ROOT_PORT, PCI_EXP_TYPE_DOWNSTREAM];
	const bytes = new Uint8Array(version === 2 ? 0x3c : ports.includes(type) ? 0x24 : 0x14);
	const slot = options.slot === undefined ? 0 : 0x100;
	store(bytes, PCI_EXP_FLAGS, 2, version | (type << 4) | slot);
	// Extended tags, role-based error reporting, payload of 128 bytes.
	store(bytes, PCI_EXP_DEVCAP, 4, 0x8020 + (options.flr ? PCI_EXP_DEVCAP_FLR : 0));
	if (!integrated) {
		const link = (options.speed ?? 1) | ((options.width ?? 1) << 4);
		store(bytes, PCI_EXP_LNKCAP, 4, link | 0x400);
		store(bytes, PCI_EXP_LNKSTA, 2, link);
		if (version === 2) {
			store(bytes, PCI_EXP_LNKCAP2, 4, ((1 << (options.speed ?? 1)) - 1) << 1);
			store(bytes, PCI_EXP_LNKCTL2, 2, options.speed ?? 1);
		}
	}
	// Surprise removal and hot plug.
	if (options.slot !== undefined) store(bytes, PCI_EXP_SLTCAP, 4, 0x60 | (options.slot << 19));
	return capability(PCI_CAP_ID_EXP, bytes, options);
}

/** Advanced Features with a function level reset, for conventional PCI (PCI AF ECN). */
export function af(options: CapabilityPlace = {}): Capability {
	const bytes = new Uint8Array(6);
	store(bytes, 2, 1, bytes.length);
	store(bytes, PCI_AF_CAP, 1, PCI_AF_CAP_TP | PCI_AF_CAP_FLR);
	return capability(PCI_CAP_ID_AF, bytes, options);
}

/** Vital Product Data (PCI Local Bus 3.0, appendix I). The content is `vitalProductData` of the description. */
export function vpd(options: CapabilityPlace = {}): Capability {
	return capability(PCI_CAP_ID_VPD, new Uint8Array(8), options);
}

/** Options of {@link vendor}. */
export interface VendorOptions extends CapabilityPlace {
	/** What follows id, next pointer and length. */
	readonly body: Uint8Array;
	/** The bits of the body that a config write changes; none when left out. */
	readonly writable?: Uint8Array;
}

/** A vendor-specific capability (PCI Express Base 5.0, section 7.9.4). */
export function vendor(options: VendorOptions): Capability {
	const bytes = new Uint8Array(3 + options.body.length);
	const writable = new Uint8Array(bytes.length);
	store(bytes, 2, 1, bytes.length);
	bytes.set(options.body, 3);
	writable.set((options.writable ?? new Uint8Array()).subarray(0, options.body.length), 3);
	return capability(PCI_CAP_ID_VNDR, bytes, options, writable);
}

/** Subsystem ids of a bridge (PCI-to-PCI Bridge 1.2, section 3.2.5.13). */
export function subsystem(options: { vendor: number; device: number } & CapabilityPlace): Capability {
	const bytes = new Uint8Array(8);
	store(bytes, 4, 2, options.vendor);
	store(bytes, 6, 2, options.device);
	return capability(PCI_CAP_ID_SSVID, bytes, options);
}

/** Any other capability, by its bytes. */
export function rawCapability(
	options: { id: number; bytes: Uint8Array; writable?: Uint8Array } & CapabilityPlace,
): Capability {
	return capability(options.id, options.bytes, options, options.writable);
}
