/**
 * Which bits of the standard registers a config write changes, and which it clears by writing one: a table for each
 * capability, from its section of the specification.
 *
 * @module
 */
import type { AccessWidth } from "../../core/kernel.ts";
import {
	PCI_ACS_CAP,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PCIX,
	PCI_CAP_ID_PM,
	PCI_CAP_ID_SLOTID,
	PCI_CAP_ID_VPD,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL2,
	PCI_EXP_DEVSTA,
	PCI_EXP_FLAGS,
	PCI_EXP_FLAGS_TYPE,
	PCI_EXP_FLAGS_VERS,
	PCI_EXP_LNKCTL,
	PCI_EXP_LNKCTL2,
	PCI_EXP_LNKSTA,
	PCI_EXP_LNKSTA2,
	PCI_EXP_RTCTL,
	PCI_EXP_SLTCTL,
	PCI_EXP_SLTSTA,
	PCI_EXP_TYPE_RC_EC,
	PCI_EXP_TYPE_RC_END,
	PCI_EXP_TYPE_ROOT_PORT,
	PCI_EXT_CAP_ID_ACS,
	PCI_EXT_CAP_ID_ARI,
	PCI_EXT_CAP_ID_ATS,
	PCI_EXT_CAP_ID_ERR,
	PCI_EXT_CAP_ID_LTR,
	PCI_EXT_CAP_ID_PRI,
	PCI_EXT_CAP_ID_REBAR,
	PCI_EXT_CAP_ID_SRIOV,
	PCI_EXT_CAP_ID_TPH,
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_32,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_64BIT,
	PCI_MSI_FLAGS_ENABLE,
	PCI_MSI_FLAGS_MASKBIT,
	PCI_MSI_FLAGS_QMASK,
	PCI_MSI_FLAGS_QSIZE,
	PCI_MSIX_FLAGS,
	PCI_MSIX_FLAGS_ENABLE,
	PCI_MSIX_FLAGS_MASKALL,
	PCI_PM_CTRL,
	PCI_PM_CTRL_PME_ENABLE,
	PCI_PM_CTRL_PME_STATUS,
	PCI_PM_CTRL_STATE_MASK,
	PCI_PM_PMC,
	PCI_REBAR_CTRL,
} from "../../core/uapi/pci_regs.ts";
import type { FoundCapability } from "./config-walk.ts";
import { load, setBits } from "./little-endian.ts";

/** The two masks of a configuration space, being filled in. A bit is in one of them at most. */
export interface RegisterMasks {
	readonly writable: Uint8Array;
	readonly writeOneToClear: Uint8Array;
}

const PM_PME_SUPPORT = 0xf800;
const EXP_FLAGS_SLOT = 0x0100;
const EXP_RTSTA = 0x20;
const EXT_CAP_ID_PASID = 0x1b;
const EXT_CAP_ID_PTM = 0x1f;
const AER_ROOT_COMMAND = 0x2c;
const AER_ROOT_STATUS = 0x30;

/** Marks registers of one capability; what would lie beyond the configuration space is left out. */
class Marker {
	readonly #masks: RegisterMasks;
	readonly #config: Uint8Array;
	readonly #base: number;

	constructor(masks: RegisterMasks, config: Uint8Array, base: number) {
		this.#masks = masks;
		this.#config = config;
		this.#base = base;
	}

	read(offset: number, width: AccessWidth): number {
		return load(this.#config, this.#base + offset, width);
	}

	writable(offset: number, width: AccessWidth, bits: number): void {
		if (this.#base + offset + width <= this.#config.length)
			setBits(this.#masks.writable, this.#base + offset, width, bits);
	}

	clearable(offset: number, width: AccessWidth, bits: number): void {
		if (this.#base + offset + width <= this.#config.length)
			setBits(this.#masks.writeOneToClear, this.#base + offset, width, bits);
	}
}

/** Marks the registers of a capability of the first 256 bytes; an unknown one stays read-only. */
export function markCapability(masks: RegisterMasks, config: Uint8Array, capability: FoundCapability): void {
	const marker = new Marker(masks, config, capability.offset);
	switch (capability.id) {
		case PCI_CAP_ID_PM:
			marker.writable(PCI_PM_CTRL, 2, PCI_PM_CTRL_STATE_MASK);
			if ((marker.read(PCI_PM_PMC, 2) & PM_PME_SUPPORT) === 0) break;
			marker.writable(PCI_PM_CTRL, 2, PCI_PM_CTRL_PME_ENABLE);
			marker.clearable(PCI_PM_CTRL, 2, PCI_PM_CTRL_PME_STATUS);
			break;
		case PCI_CAP_ID_VPD:
			marker.writable(2, 2, 0xffff);
			marker.writable(4, 4, 0xffffffff);
			break;
		case PCI_CAP_ID_SLOTID:
			marker.writable(3, 1, 0xff);
			break;
		case PCI_CAP_ID_MSI:
			markMsi(marker);
			break;
		case PCI_CAP_ID_PCIX:
			marker.writable(2, 2, 0x007f);
			marker.clearable(4, 4, 0x200c0000);
			break;
		case PCI_CAP_ID_EXP:
			markExpress(marker);
			break;
		case PCI_CAP_ID_MSIX:
			marker.writable(PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
			break;
	}
}

function markMsi(marker: Marker): void {
	const flags = marker.read(PCI_MSI_FLAGS, 2);
	const wide = (flags & PCI_MSI_FLAGS_64BIT) !== 0;
	const data = wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32;
	marker.writable(PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	marker.writable(PCI_MSI_ADDRESS_LO, 4, 0xfffffffc);
	if (wide) marker.writable(PCI_MSI_ADDRESS_HI, 4, 0xffffffff);
	marker.writable(data, 2, 0xffff);
	const vectors = 1 << Math.min((flags & PCI_MSI_FLAGS_QMASK) >>> 1, 5);
	if ((flags & PCI_MSI_FLAGS_MASKBIT) !== 0)
		marker.writable(data + 4, 4, vectors === 32 ? 0xffffffff : (1 << vectors) - 1);
}

function markExpress(marker: Marker): void {
	const flags = marker.read(PCI_EXP_FLAGS, 2);
	const version = flags & PCI_EXP_FLAGS_VERS;
	const type = (flags & PCI_EXP_FLAGS_TYPE) >>> 4;
	const rootComplex = type === PCI_EXP_TYPE_RC_END || type === PCI_EXP_TYPE_RC_EC;
	// Initiate Function Level Reset (bit 15) reads as zero whatever is written: it is an effect, not a bit.
	marker.writable(PCI_EXP_DEVCTL, 2, 0x7fff);
	marker.clearable(PCI_EXP_DEVSTA, 2, 0x000f);
	if (!rootComplex) {
		marker.writable(PCI_EXP_LNKCTL, 2, 0x0fdb);
		marker.clearable(PCI_EXP_LNKSTA, 2, 0xc000);
	}
	if ((flags & EXP_FLAGS_SLOT) !== 0) {
		marker.writable(PCI_EXP_SLTCTL, 2, 0x1fff);
		marker.clearable(PCI_EXP_SLTSTA, 2, 0x011f);
	}
	if (type === PCI_EXP_TYPE_ROOT_PORT || type === PCI_EXP_TYPE_RC_EC) {
		marker.writable(PCI_EXP_RTCTL, 2, 0x001f);
		marker.clearable(EXP_RTSTA, 4, 0x00010000);
	}
	// Version 1 ends before these, and something else may be there.
	if (version < 2) return;
	marker.writable(PCI_EXP_DEVCTL2, 2, 0xffff);
	if (rootComplex) return;
	marker.writable(PCI_EXP_LNKCTL2, 2, 0xffff);
	marker.clearable(PCI_EXP_LNKSTA2, 2, 0x0020);
}

/** Marks the registers of an extended capability; an unknown one stays read-only. */
export function markExtendedCapability(
	masks: RegisterMasks,
	config: Uint8Array,
	capability: FoundCapability,
	portType: number | undefined,
): void {
	const marker = new Marker(masks, config, capability.offset);
	switch (capability.id) {
		case PCI_EXT_CAP_ID_ERR:
			marker.clearable(0x04, 4, 0x07fff030);
			marker.writable(0x08, 4, 0x07fff030);
			marker.writable(0x0c, 4, 0x07fff030);
			marker.clearable(0x10, 4, 0x0000f1c1);
			marker.writable(0x14, 4, 0x0000f1c1);
			// Generation and checking of ECRC can be enabled where the bit before it says they exist.
			marker.writable(0x18, 4, (marker.read(0x18, 4) & 0x4a0) << 1);
			if (portType !== PCI_EXP_TYPE_ROOT_PORT && portType !== PCI_EXP_TYPE_RC_EC) break;
			marker.writable(AER_ROOT_COMMAND, 4, 0x7);
			marker.clearable(AER_ROOT_STATUS, 4, 0x7f);
			break;
		case PCI_EXT_CAP_ID_ACS:
			marker.writable(PCI_ACS_CAP + 2, 2, marker.read(PCI_ACS_CAP, 2) & 0x7f);
			break;
		case PCI_EXT_CAP_ID_ARI:
			marker.writable(6, 2, (marker.read(4, 2) & 0x3) | 0x70);
			break;
		case PCI_EXT_CAP_ID_ATS:
			marker.writable(6, 2, 0x801f);
			break;
		case PCI_EXT_CAP_ID_SRIOV:
			marker.writable(0x08, 2, 0x0019);
			marker.writable(0x10, 2, 0xffff);
			marker.writable(0x20, 4, 0xffffffff);
			break;
		case PCI_EXT_CAP_ID_PRI:
			marker.writable(4, 2, 0x0003);
			marker.clearable(6, 2, 0x0003);
			marker.writable(0x0c, 4, 0xffffffff);
			break;
		case PCI_EXT_CAP_ID_REBAR:
			// The first control register says in bits 7:5 how many there are.
			for (let bar = 0; bar < Math.min((marker.read(PCI_REBAR_CTRL, 4) >>> 5) & 7, 6); bar++)
				marker.writable(PCI_REBAR_CTRL + 8 * bar, 4, 0x00003f00);
			break;
		case PCI_EXT_CAP_ID_TPH:
			marker.writable(8, 4, 0x00000307);
			break;
		case PCI_EXT_CAP_ID_LTR:
			marker.writable(4, 4, 0x1fff1fff);
			break;
		case EXT_CAP_ID_PASID:
			marker.writable(6, 2, 0x0007);
			break;
		case EXT_CAP_ID_PTM:
			marker.writable(8, 4, 0x0000ff03);
			break;
	}
}
