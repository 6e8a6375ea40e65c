/**
 * Resizable BARs, fixed at the size the host chose: a guest that resized one would change the region under our mapping
 * (PCI Express Base, 7.8.6).
 *
 * @module
 */
import { PCI_REBAR_CAP, PCI_REBAR_CTRL } from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";
import type { Capability } from "./walk.ts";

const INDEX = 0x7;
const COUNT = 0xe0;
const SIZE = 0x1f00;
/** Sizes that the capability dword can name: 1 MiB (bit 4) to 512 GiB (bit 23). */
const SIZES = 0x00fffff0;

/**
 * Shows each BAR with exactly its present size, and its control read-only.
 *
 * @returns false when the capability cannot be shown: a size above 512 GiB, or more BARs than it has room for
 */
export function fixResizableBars(registers: ConfigRegisters, capability: Capability): boolean {
	const { offset, size } = capability;
	if (size < PCI_REBAR_CTRL + 4) return false;
	const count = (registers.get(offset + PCI_REBAR_CTRL, 4) & COUNT) >> 5;
	if (count === 0 || 4 + count * 8 > size) return false;
	const bits: number[] = [];
	for (let n = 0; n < count; n++) {
		const exponent = (registers.get(offset + n * 8 + PCI_REBAR_CTRL, 4) & SIZE) >> 8;
		const bit = exponent <= 27 ? 1 << (exponent + 4) : 0;
		if ((bit & SIZES) === 0) return false;
		bits.push(bit);
	}
	for (const [n, bit] of bits.entries()) {
		const at = offset + n * 8;
		const control = registers.get(at + PCI_REBAR_CTRL, 4);
		registers.emulate(at + PCI_REBAR_CAP, 4, bit);
		registers.emulate(at + PCI_REBAR_CTRL, 4, control & (INDEX | COUNT | SIZE));
	}
	return true;
}
