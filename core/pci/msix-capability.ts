/**
 * The MSI-X capability: where the table and the pending bits are, and whether that can be (PCI Local Bus 3.0, 6.8.2).
 *
 * @module
 */
import { hex, load } from "../bytes.ts";
import type { GuestBar } from "../machine/machine.ts";
import {
	PCI_DEVICE_ID,
	PCI_MSIX_BIR,
	PCI_MSIX_ENTRY_SIZE,
	PCI_MSIX_FLAGS,
	PCI_MSIX_FLAGS_ENABLE,
	PCI_MSIX_FLAGS_MASKALL,
	PCI_MSIX_FLAGS_QSIZE,
	PCI_MSIX_PBA,
	PCI_MSIX_TABLE,
	PCI_VENDOR_ID,
} from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";

/** A place in a BAR. */
export interface BarPlace {
	/** 0 to 5. */
	readonly bar: number;
	/** Bytes; 8-byte aligned, since its low three bits name the BAR. */
	readonly offset: number;
}

/** What the capability says. */
export interface MsixCapability {
	/** Where it is in configuration space. */
	readonly offset: number;
	/** 1 to 2048. */
	readonly vectors: number;
	readonly table: BarPlace;
	readonly pba: BarPlace;
}

/** Bytes of a table. */
export function msixTableSize(vectors: number): number {
	return vectors * PCI_MSIX_ENTRY_SIZE;
}

/** Bytes of a pending-bit array: whole 64-bit words. */
export function msixPbaSize(vectors: number): number {
	return Math.ceil(vectors / 64) * 8;
}

/**
 * Devices whose pending-bit array is not where the capability says, and where it is. Seen in virtual functions whose
 * hardware reports an offset past the end of the BAR.
 */
const PBA_ELSEWHERE: readonly { vendor: number; device: number; mask: number; offset: number }[] = [
	{ vendor: 0x1425, device: 0x5800, mask: 0xff00, offset: 0x1000 }, // Chelsio T5
	{ vendor: 0x1d22, device: 0x3685, mask: 0xffff, offset: 0xb400 }, // Baidu Kunlun
];

/** Reads the capability. @param config its 12 bytes must be inside */
export function readMsix(config: Uint8Array, offset: number): MsixCapability {
	const table = load(config, offset + PCI_MSIX_TABLE, 4);
	const pba = load(config, offset + PCI_MSIX_PBA, 4);
	return {
		offset,
		vectors: (load(config, offset + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1,
		table: { bar: table & PCI_MSIX_BIR, offset: (table & ~PCI_MSIX_BIR) >>> 0 },
		pba: { bar: pba & PCI_MSIX_BIR, offset: (pba & ~PCI_MSIX_BIR) >>> 0 },
	};
}

/**
 * Checks the capability against the BARs.
 *
 * @param sizes of regions 0 to 5 in bytes
 * @param moves the guest's will be elsewhere, so that it does not matter where the pending bits of the device are
 * @returns the capability, with the true place of the pending bits where a device is known to misreport it; or a sentence
 *   that says what is wrong
 */
export function checkMsix(
	capability: MsixCapability,
	config: Uint8Array,
	bars: readonly GuestBar[],
	sizes: readonly number[],
	moves = false,
): MsixCapability | string {
	const misplaced = (what: string, place: BarPlace, length: number): string | undefined => {
		const at = `${what} of the MSI-X capability at ${hex(capability.offset)} (${hex(length)} bytes at ${hex(place.offset)} of BAR ${place.bar})`;
		const bar = bars.find((candidate) => candidate.index === place.bar && candidate.index < 6);
		if (!bar) return `the ${at} is in a BAR that does not exist`;
		if (bar.kind === "io") return `the ${at} is in an I/O BAR`;
		const size = sizes[place.bar] ?? 0;
		return place.offset + length > size ? `the ${at} is outside the BAR's ${hex(size)} bytes` : undefined;
	};
	const tableSize = msixTableSize(capability.vectors);
	const pbaSize = msixPbaSize(capability.vectors);
	let { pba } = capability;
	const wrongTable = misplaced("table", capability.table, tableSize);
	if (wrongTable) return wrongTable;
	const wrongPba = misplaced("pending-bit array", pba, pbaSize);
	if (wrongPba) {
		const vendor = load(config, PCI_VENDOR_ID, 2);
		const device = load(config, PCI_DEVICE_ID, 2);
		const known = PBA_ELSEWHERE.find((row) => row.vendor === vendor && row.device === (device & row.mask));
		if (!known && !moves) return wrongPba;
		if (known) pba = { bar: pba.bar, offset: known.offset };
		const still = known && misplaced("pending-bit array", pba, pbaSize);
		if (still && !moves) return still;
	}
	const { table } = capability;
	if (table.bar === pba.bar && table.offset < pba.offset + pbaSize && pba.offset < table.offset + tableSize)
		return `the table at ${hex(table.offset)} and the pending-bit array at ${hex(pba.offset)} of the MSI-X capability at ${hex(capability.offset)} overlap in BAR ${table.bar}`;
	return { ...capability, pba };
}

/** Takes the whole capability out of the device's hands: the kernel's own shows how the host uses MSI-X, not the guest. */
export function emulateMsix(registers: ConfigRegisters, capability: MsixCapability): void {
	const at = capability.offset;
	registers.emulate(at, 2, registers.get(at, 2));
	registers.emulate(at + PCI_MSIX_FLAGS, 2, capability.vectors - 1, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	registers.emulate(at + PCI_MSIX_TABLE, 4, capability.table.offset | capability.table.bar);
	registers.emulate(at + PCI_MSIX_PBA, 4, capability.pba.offset | capability.pba.bar);
}
