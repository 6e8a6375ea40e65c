/**
 * Base address registers: what kind of BAR the device has, how the guest sizes and places it, and where it decodes
 * (PCI Local Bus 3.0, 6.2.5).
 *
 * @module
 */
import { hex, load, powerOfTwoCeiling } from "../bytes.ts";
import type { GuestBar } from "../machine/machine.ts";
import {
	PCI_BASE_ADDRESS_0,
	PCI_BASE_ADDRESS_MEM_PREFETCH,
	PCI_BASE_ADDRESS_MEM_TYPE_64,
	PCI_BASE_ADDRESS_MEM_TYPE_MASK,
	PCI_BASE_ADDRESS_SPACE_IO,
	PCI_COMMAND,
	PCI_COMMAND_IO,
	PCI_COMMAND_MEMORY,
	PCI_ROM_ADDRESS,
	PCI_ROM_ADDRESS_ENABLE,
} from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";
import { ROM_LARGEST } from "./rom-image.ts";

/** The ROM's place among BAR indices. */
export const ROM_BAR = 6;
const FOUR_GIB = 0x1_0000_0000;

/** Where the register of a BAR is. @param index 0 to 5, or 6 for the ROM */
export function barRegister(index: number): number {
	return index === ROM_BAR ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * index;
}

/**
 * The BARs of a device: kinds from its registers, sizes from the kernel's regions. A region whose size is no power of two
 * gets the next one, as no other can be expressed.
 *
 * @param sizes of regions 0 to 6 in bytes; 0 where there is none
 * @param problems gets a sentence for each BAR that cannot be shown
 */
export function findBars(config: Uint8Array, sizes: readonly number[], problems: string[]): GuestBar[] {
	const bars: GuestBar[] = [];
	for (let index = 0; index < 6; index++) {
		const length = sizes[index] ?? 0;
		if (length === 0) continue;
		const register = load(config, barRegister(index), 4);
		if (register & PCI_BASE_ADDRESS_SPACE_IO) {
			bars.push({ index, kind: "io", size: Math.max(4, powerOfTwoCeiling(length)), prefetchable: false });
			continue;
		}
		const wide = (register & PCI_BASE_ADDRESS_MEM_TYPE_MASK) === PCI_BASE_ADDRESS_MEM_TYPE_64;
		const size = Math.max(16, powerOfTwoCeiling(length));
		const prefetchable = (register & PCI_BASE_ADDRESS_MEM_PREFETCH) !== 0;
		if (wide && index === 5) {
			problems.push("BAR 5 claims to be a 64-bit BAR and has no upper half: it is left out");
		} else if (!wide && size >= FOUR_GIB) {
			problems.push(`BAR ${index} has 32 bits and ${hex(length)} bytes: it is left out`);
		} else if (wide) {
			if (sizes[index + 1])
				problems.push(`BAR ${index + 1} is the upper half of BAR ${index} and has a region: ignored`);
			bars.push({ index, kind: "mem64", size, prefetchable });
			index++;
		} else {
			bars.push({ index, kind: "mem32", size, prefetchable });
		}
	}
	const rom = sizes[ROM_BAR] ?? 0;
	if (rom > ROM_LARGEST) problems.push(`The option ROM has ${hex(rom)} bytes, above 16 MiB: it is left out`);
	else if (rom > 0)
		bars.push({ index: ROM_BAR, kind: "mem32", size: Math.max(2048, powerOfTwoCeiling(rom)), prefetchable: false });
	return bars;
}

/**
 * Takes all seven registers out of the device's hands, so that no host address reaches a guest; the guest sizes and
 * writes the copy.
 */
export function emulateBars(registers: ConfigRegisters, bars: readonly GuestBar[]): void {
	registers.blank(PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_0 + 24);
	registers.blank(PCI_ROM_ADDRESS, PCI_ROM_ADDRESS + 4);
	for (const bar of bars) {
		const at = barRegister(bar.index);
		// The low half of -size, where 64 bits are needed for the high one.
		const low = bar.size >= FOUR_GIB ? 0 : -bar.size;
		if (bar.index === ROM_BAR) {
			registers.emulate(at, 4, 0, (low & 0xfffff800) | PCI_ROM_ADDRESS_ENABLE);
		} else if (bar.kind === "io") {
			registers.emulate(at, 4, PCI_BASE_ADDRESS_SPACE_IO, low & ~3);
		} else {
			const type = bar.kind === "mem64" ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0;
			registers.emulate(at, 4, type | (bar.prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0), low & ~0xf);
			if (bar.kind === "mem64")
				registers.emulate(at + 4, 4, 0, bar.size >= FOUR_GIB ? -(bar.size / FOUR_GIB) : 0xffffffff);
		}
	}
}

/** Puts an address into a BAR's register in the copy, as if the guest had written it. */
export function setBarAddress(registers: ConfigRegisters, bar: GuestBar, address: bigint): void {
	const at = barRegister(bar.index);
	const fixed = bar.index === ROM_BAR ? 0x7ff : bar.kind === "io" ? 3 : 0xf;
	registers.set(at, 4, (Number(address & 0xffff_ffffn) & ~fixed) | (registers.get(at, 4) & fixed));
	if (bar.kind === "mem64") registers.set(at + 4, 4, Number(address >> 32n));
}

/**
 * Where a BAR decodes, from COMMAND and its register in the copy.
 *
 * @param powered the function is in D0: in any other state only configuration space answers (PCI PM 1.2, 5.4.1)
 * @returns undefined when it decodes nowhere: switched off, zero, or a sizing value. A sizing value is recognised by
 *   where such a BAR would end, at 4 GiB or at 2^64, where nothing can be placed on a PC; or by an upper half of all ones.
 */
export function decodedAddress(registers: ConfigRegisters, bar: GuestBar, powered: boolean): bigint | undefined {
	const enable = bar.kind === "io" ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	if (!powered || (registers.get(PCI_COMMAND, 2) & enable) === 0) return undefined;
	const at = barRegister(bar.index);
	const register = registers.get(at, 4);
	let low: number;
	let high = 0;
	if (bar.index === ROM_BAR) {
		if ((register & PCI_ROM_ADDRESS_ENABLE) === 0) return undefined;
		low = (register & 0xfffff800) >>> 0;
	} else if (bar.kind === "io") {
		low = (register & ~3) >>> 0;
	} else {
		low = (register & ~0xf) >>> 0;
		if (bar.kind === "mem64") high = registers.get(at + 4, 4);
	}
	if (high === 0xffffffff || (high === 0 && low === 0)) return undefined;
	const address = (BigInt(high) << 32n) | BigInt(low);
	const end = address + BigInt(bar.size);
	if (end === 1n << 32n || end >= 1n << 64n) return undefined;
	if (bar.kind !== "mem64" && end > 1n << 32n) return undefined;
	return address;
}
