/**
 * The Base Address Registers of a description.
 *
 * @module
 */
import { VfioError } from "../../core/errors.ts";
import {
	PCI_BASE_ADDRESS_0,
	PCI_BASE_ADDRESS_MEM_PREFETCH,
	PCI_BASE_ADDRESS_MEM_TYPE_64,
	PCI_BASE_ADDRESS_SPACE_IO,
	PCI_ROM_ADDRESS,
	PCI_ROM_ADDRESS1,
} from "../../core/uapi/pci_regs.ts";
import type { FunctionDescription } from "./description.ts";
import { load, store } from "./little-endian.ts";
import type { BarDescription } from "./model.ts";
import type { RegisterMasks } from "./register-masks.ts";

/** The type bits of the BARs, and a write mask that answers the sizing protocol (PCI 3.0, section 6.2.5.1). */
export function layOutBars(
	masks: RegisterMasks,
	config: Uint8Array,
	description: FunctionDescription,
	bridge: boolean,
): void {
	const slots = bridge ? 2 : 6;
	const taken = new Set<number>();
	for (const bar of description.bars ?? []) {
		checkBar(bar, slots, taken);
		// The registers of a virtual function's BARs are its physical function's.
		if (description.virtualFunction) continue;
		const offset = PCI_BASE_ADDRESS_0 + 4 * bar.index;
		const mask = BigInt.asUintN(64, ~(BigInt(bar.size) - 1n));
		const low = Number(BigInt.asUintN(32, mask));
		const type =
			bar.kind === "io"
				? PCI_BASE_ADDRESS_SPACE_IO
				: (bar.kind === "mem64" ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
					(bar.prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
		const address = (load(config, offset, 4) & low) >>> 0;
		store(masks.writable, offset, 4, low);
		store(config, offset, 4, address | type);
		if (bar.kind === "mem64") store(masks.writable, offset + 4, 4, Number(mask >> 32n));
	}
	if (!description.rom) return;
	const rom = bridge ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS;
	if (!powerOfTwo(description.rom.size) || description.rom.size < 2048)
		throw new VfioError(
			"invalid-argument",
			`Cannot lay out a ROM of ${description.rom.size} bytes: not a power of two of at least 2048`,
		);
	store(masks.writable, rom, 4, ~(description.rom.size - 1) | 1);
}

function checkBar(bar: BarDescription, slots: number, taken: Set<number>): void {
	const wanted = bar.kind === "mem64" ? [bar.index, bar.index + 1] : [bar.index];
	const free = wanted.every((index) => index >= 0 && index < slots && !taken.has(index));
	const least = bar.kind === "io" ? 4 : 16;
	const most = bar.kind === "mem64" ? 2 ** 52 : 2 ** 31;
	if (!free || !powerOfTwo(bar.size) || bar.size < least || bar.size > most)
		throw new VfioError(
			"invalid-argument",
			`Cannot lay out BAR ${bar.index} as ${bar.kind} of ${bar.size} bytes: ${free ? "not a size that a BAR can have" : "the register is not free"}`,
		);
	for (const index of wanted) taken.add(index);
}

function powerOfTwo(size: number): boolean {
	return Number.isSafeInteger(size) && size > 0 && Number.isInteger(Math.log2(size));
}
