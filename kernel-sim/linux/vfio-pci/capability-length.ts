/**
 * How many bytes vfio-pci takes a capability to be. Zero hides the capability from the user.
 *
 * @module
 */
import {
	PCI_CAP_ID_AF,
	PCI_CAP_ID_AGP,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_HT,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PCIX,
	PCI_CAP_ID_PM,
	PCI_CAP_ID_SATA,
	PCI_CAP_ID_VNDR,
	PCI_CAP_ID_VPD,
	PCI_CAP_MSIX_SIZEOF,
	PCI_EXP_FLAGS,
	PCI_EXP_FLAGS_TYPE,
	PCI_EXP_FLAGS_VERS,
	PCI_EXP_TYPE_RC_END,
	PCI_EXT_CAP_ID_ACS,
	PCI_EXT_CAP_ID_ARI,
	PCI_EXT_CAP_ID_ATS,
	PCI_EXT_CAP_ID_DPA,
	PCI_EXT_CAP_ID_DSN,
	PCI_EXT_CAP_ID_DVSEC,
	PCI_EXT_CAP_ID_ERR,
	PCI_EXT_CAP_ID_LTR,
	PCI_EXT_CAP_ID_MCAST,
	PCI_EXT_CAP_ID_MFVC,
	PCI_EXT_CAP_ID_PRI,
	PCI_EXT_CAP_ID_PWR,
	PCI_EXT_CAP_ID_REBAR,
	PCI_EXT_CAP_ID_SRIOV,
	PCI_EXT_CAP_ID_TPH,
	PCI_EXT_CAP_ID_VC,
	PCI_EXT_CAP_ID_VC9,
	PCI_EXT_CAP_ID_VNDR,
	PCI_MSI_FLAGS,
} from "../../../core/uapi/pci_regs.ts";
import { load } from "../../hardware/little-endian.ts";
import { msiLength } from "../../hardware/msi-unit.ts";

/** PCI-X: bits 13:12 of the command register say which version of the capability this is (PCI-X 2.0, section 7.2). */
const PCIX_COMMAND = 2;
const PCIX_VERSION = 0x3000;
const HT_CAPABILITY_TYPE = 3;
const HT_TYPE_3BIT = 0xe0;
const SATA_REGISTER_0 = 4;
const SATA_INLINE = 0xf;

/**
 * Length of a capability in the first 256 bytes.
 *
 * @param config the whole configuration space
 * @returns bytes, 0 for one that stays hidden
 */
export function capabilityLength(config: Uint8Array, id: number, offset: number): number {
	switch (id) {
		case PCI_CAP_ID_PM:
		case PCI_CAP_ID_VPD:
			return 8;
		case PCI_CAP_ID_AGP:
			return 12;
		case PCI_CAP_ID_MSI:
			return msiLength(load(config, offset + PCI_MSI_FLAGS, 2));
		case PCI_CAP_ID_PCIX:
			return (load(config, offset + PCIX_COMMAND, 2) & PCIX_VERSION) === 0 ? 8 : 24;
		case PCI_CAP_ID_HT:
			return (load(config, offset + HT_CAPABILITY_TYPE, 1) & HT_TYPE_3BIT) === 0 ? 28 : 24;
		case PCI_CAP_ID_VNDR:
			return load(config, offset + 2, 1);
		case PCI_CAP_ID_EXP:
			return expressLength(load(config, offset + PCI_EXP_FLAGS, 2));
		case PCI_CAP_ID_MSIX:
			return PCI_CAP_MSIX_SIZEOF;
		case PCI_CAP_ID_SATA:
			return (load(config, offset + SATA_REGISTER_0, 1) & SATA_INLINE) === SATA_INLINE ? 16 : 8;
		case PCI_CAP_ID_AF:
			return 6;
		default:
			return 0;
	}
}

/** Slot and root registers are missing in an endpoint, the link's too in one that is integrated into the root complex. */
function expressLength(flags: number): number {
	const integrated = (flags & PCI_EXP_FLAGS_TYPE) >>> 4 === PCI_EXP_TYPE_RC_END;
	if ((flags & PCI_EXP_FLAGS_VERS) === 1) return integrated ? 12 : 20;
	return integrated ? 0x2c : 0x34;
}

const FIXED_EXTENDED: ReadonlyMap<number, number> = new Map([
	[PCI_EXT_CAP_ID_ERR, 0x2c],
	[PCI_EXT_CAP_ID_DSN, 12],
	[PCI_EXT_CAP_ID_PWR, 16],
	[PCI_EXT_CAP_ID_ARI, 8],
	[PCI_EXT_CAP_ID_ATS, 8],
	[PCI_EXT_CAP_ID_SRIOV, 0x40],
	[PCI_EXT_CAP_ID_MCAST, 40],
	[PCI_EXT_CAP_ID_PRI, 16],
	[PCI_EXT_CAP_ID_LTR, 8],
]);

/**
 * Length of a capability of the extended space.
 *
 * @param config the whole configuration space
 * @returns bytes, 0 for one that stays hidden
 */
export function extendedCapabilityLength(config: Uint8Array, id: number, offset: number): number {
	const second = load(config, offset + 4, 4);
	switch (id) {
		case PCI_EXT_CAP_ID_VC:
		case PCI_EXT_CAP_ID_VC9:
		case PCI_EXT_CAP_ID_MFVC:
			return virtualChannelLength(second, load(config, offset + 8, 4));
		case PCI_EXT_CAP_ID_VNDR:
		case PCI_EXT_CAP_ID_DVSEC:
			return second >>> 20;
		case PCI_EXT_CAP_ID_ACS:
			return accessControlLength(second);
		case PCI_EXT_CAP_ID_REBAR:
			// The first control register says how many BARs can be resized (PCIe 6.0, section 7.8.6.3).
			return 4 + ((load(config, offset + 8, 4) >>> 5) & 7) * 8;
		case PCI_EXT_CAP_ID_DPA:
			return 16 + (second & 0x1f) + 1;
		case PCI_EXT_CAP_ID_TPH:
			// Bits 10:9 are 1 when the steering table is here (PCIe 6.0, section 7.9.13.2).
			return ((second >>> 9) & 3) === 1 ? 12 + (((((second >>> 16) & 0x7ff) + 1) * 2 + 3) & ~3) : 12;
		default:
			return FIXED_EXTENDED.get(id) ?? 0;
	}
}

/** Port registers, three dwords for each channel, and the port's arbitration table (PCIe 6.0, section 7.9.1). */
function virtualChannelLength(capability1: number, capability2: number): number {
	const channels = 0x10 + (capability1 & 7) * 0xc + 0xc;
	const table = (capability2 >>> 24) * 16;
	if (table === 0) return channels;
	const phases = (capability2 & 8) !== 0 ? 128 : (capability2 & 4) !== 0 ? 64 : 32;
	return Math.max(channels, table + phases / 2);
}

/** The egress control vector is there when bit 5 says so, with the number of bits in 15:8 (PCIe 6.0, section 7.7.11.2). */
function accessControlLength(capability: number): number {
	if ((capability & 0x20) === 0) return 8;
	const bits = (capability >>> 8) & 0xff || 256;
	return 8 + Math.ceil(bits / 32) * 4;
}
