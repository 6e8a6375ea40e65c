/**
 * The rules of each register that vfio-pci knows: which bits are virtual and which can be written.
 *
 * @module
 */
import {
	PCI_AF_CTRL,
	PCI_AF_CTRL_FLR,
	PCI_BASE_ADDRESS_0,
	PCI_CACHE_LINE_SIZE,
	PCI_CAP_ID_AF,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_PCIX,
	PCI_CAP_ID_PM,
	PCI_CAP_ID_VNDR,
	PCI_CAP_ID_VPD,
	PCI_CAPABILITY_LIST,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL_BCR_FLR,
	PCI_EXP_DEVCTL_PAYLOAD,
	PCI_EXP_DEVCTL_READRQ,
	PCI_EXP_DEVCTL2,
	PCI_EXT_CAP_ID_DVSEC,
	PCI_EXT_CAP_ID_ERR,
	PCI_EXT_CAP_ID_PWR,
	PCI_EXT_CAP_ID_VNDR,
	PCI_INTERRUPT_LINE,
	PCI_INTERRUPT_PIN,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_MASKBIT,
	PCI_PM_CTRL,
	PCI_PM_CTRL_PME_ENABLE,
	PCI_PM_CTRL_PME_STATUS,
	PCI_PM_CTRL_STATE_MASK,
	PCI_PM_PMC,
	PCI_ROM_ADDRESS,
	PCI_STATUS,
	PCI_STATUS_CAP_LIST,
	PCI_STD_HEADER_SIZEOF,
	PCI_VENDOR_ID,
} from "../../../core/uapi/pci_regs.ts";
import { load } from "../../hardware/little-endian.ts";
import type { ConfigBits } from "./config-bits.ts";

const BIST = 0x0f;
const DEVCTL_PHANTOM_FUNCTIONS = 0x0200;
const DEVCTL2_ARI_FORWARDING = 0x0020;
/** PME support by power state, PMC bits 15:11 (PCI Power Management 1.2, section 3.2.3). */
export const PM_PMC_PME_SUPPORT = 0xf800;

/** The header of type 0 (contract D.2). @returns its owner number */
export function permitHeader(bits: ConfigBits): number {
	const owner = bits.claim(0, PCI_STD_HEADER_SIZEOF);
	bits.hold(PCI_VENDOR_ID, 4, 0xffffffff);
	bits.hold(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	bits.allow(PCI_COMMAND, 2, 0xffff);
	bits.hold(PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	bits.allow(PCI_CACHE_LINE_SIZE, 2, 0xffff);
	bits.allow(BIST, 1, 0xff);
	for (let bar = 0; bar < 6; bar++) {
		bits.hold(PCI_BASE_ADDRESS_0 + 4 * bar, 4, 0xffffffff);
		bits.allow(PCI_BASE_ADDRESS_0 + 4 * bar, 4, 0xffffffff);
	}
	bits.hold(PCI_ROM_ADDRESS, 4, 0xffffffff);
	bits.allow(PCI_ROM_ADDRESS, 4, 0xffffffff);
	bits.hold(PCI_CAPABILITY_LIST, 1, 0xff);
	bits.hold(PCI_INTERRUPT_LINE, 1, 0xff);
	bits.allow(PCI_INTERRUPT_LINE, 1, 0xff);
	bits.hold(PCI_INTERRUPT_PIN, 1, 0xff);
	return owner;
}

/**
 * A visible capability of the first 256 bytes (contract D.4). Those without rules of their own are read-only.
 *
 * @param length bytes
 * @param config the configuration space it was found in
 * @returns its owner number
 */
export function permitCapability(
	bits: ConfigBits,
	id: number,
	offset: number,
	length: number,
	config: Uint8Array,
): number {
	const owner = bits.claim(offset, length);
	switch (id) {
		case PCI_CAP_ID_PM: {
			const pme = PCI_PM_CTRL_PME_ENABLE | PCI_PM_CTRL_PME_STATUS;
			bits.hold(offset + PCI_PM_PMC, 2, PM_PMC_PME_SUPPORT);
			bits.hold(offset + PCI_PM_CTRL, 2, pme);
			// The power state has a write path of its own, since it takes the BARs away.
			bits.allow(offset + PCI_PM_CTRL, 4, ~(pme | PCI_PM_CTRL_STATE_MASK));
			break;
		}
		case PCI_CAP_ID_VPD:
			bits.hold(offset, 4, 0xffffffff);
			bits.hold(offset + 4, 4, 0xffffffff);
			bits.allow(offset + 2, 2, 0xffff);
			bits.allow(offset + 4, 4, 0xffffffff);
			break;
		case PCI_CAP_ID_PCIX:
			bits.allow(offset + 2, 2, 0xffff);
			if (length > 8) bits.allow(offset + 8, 4, 0xffffffff);
			break;
		case PCI_CAP_ID_VNDR:
			bits.allowAll(offset + 2, length - 2);
			break;
		case PCI_CAP_ID_MSI:
			permitMsi(bits, offset, length, config);
			break;
		case PCI_CAP_ID_EXP:
			bits.hold(offset + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR | PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_READRQ);
			bits.allow(offset + PCI_EXP_DEVCTL, 2, 0xffff & ~DEVCTL_PHANTOM_FUNCTIONS);
			if (length > PCI_EXP_DEVCTL2) bits.allow(offset + PCI_EXP_DEVCTL2, 2, 0xffff & ~DEVCTL2_ARI_FORWARDING);
			break;
		case PCI_CAP_ID_AF:
			bits.hold(offset + PCI_AF_CTRL, 1, PCI_AF_CTRL_FLR);
			bits.allow(offset + PCI_AF_CTRL, 1, PCI_AF_CTRL_FLR);
			break;
	}
	bits.hold(offset, 2, 0xffff);
	bits.forbid(offset, 2, 0xffff);
	return owner;
}

/** Message address and data are the user's own copy: the hardware's belong to the kernel (contract D.4.1). */
function permitMsi(bits: ConfigBits, offset: number, length: number, config: Uint8Array): void {
	const maskable = (load(config, offset + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_MASKBIT) !== 0;
	bits.hold(offset + PCI_MSI_FLAGS, 1, 0xff);
	bits.allow(offset + PCI_MSI_FLAGS, 1, 0xff);
	// Per-vector mask and pending bits are the last ten bytes, two of padding before them.
	const message = length - (maskable ? 10 : 0);
	for (let at = PCI_MSI_ADDRESS_LO; at < message; at += 2) {
		bits.hold(offset + at, 2, 0xffff);
		bits.allow(offset + at, 2, 0xffff);
	}
	if (maskable) {
		bits.allow(offset + length - 8, 4, 0xffffffff);
		bits.allow(offset + length - 4, 4, 0xffffffff);
	}
}

const AER_UNCORRECTABLE = 0x03fff031;
const AER_CORRECTABLE = 0x0000f1c1;
const AER_CONTROL = 0x00000140;

/** A visible capability of the extended space (contract D.4). @returns its owner number */
export function permitExtendedCapability(bits: ConfigBits, id: number, offset: number, length: number): number {
	const owner = bits.claim(offset, length);
	switch (id) {
		case PCI_EXT_CAP_ID_ERR:
			bits.allow(offset + 0x04, 4, AER_UNCORRECTABLE);
			bits.allow(offset + 0x08, 4, AER_UNCORRECTABLE);
			bits.allow(offset + 0x0c, 4, AER_UNCORRECTABLE);
			bits.allow(offset + 0x10, 4, AER_CORRECTABLE);
			bits.allow(offset + 0x14, 4, AER_CORRECTABLE);
			bits.allow(offset + 0x18, 4, AER_CONTROL);
			break;
		case PCI_EXT_CAP_ID_PWR:
			bits.allow(offset + 8, 1, 0xff);
			break;
		case PCI_EXT_CAP_ID_VNDR:
		case PCI_EXT_CAP_ID_DVSEC:
			bits.allowAll(offset + 4, length - 4);
			break;
	}
	bits.hold(offset, 4, 0xffffffff);
	bits.forbid(offset, 4, 0xffffffff);
	return owner;
}
