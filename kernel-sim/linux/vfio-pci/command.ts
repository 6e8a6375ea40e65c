/**
 * COMMAND as the kernel itself sets it, below what the user sees.
 *
 * @module
 */
import { PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_MEMORY } from "../../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../../hardware/function.ts";

/** Sets and clears bits of the hardware's COMMAND. */
export function changeCommand(fn: PciFunction, set: number, clear: number): void {
	const before = fn.configRead(PCI_COMMAND, 2);
	const after = (before | set) & ~clear;
	if (after !== before) fn.configWrite(PCI_COMMAND, 2, after);
}

/** Lets INTx through, or holds it back at the device. */
export function allowIntx(fn: PciFunction, allowed: boolean): void {
	changeCommand(fn, allowed ? 0 : PCI_COMMAND_INTX_DISABLE, allowed ? PCI_COMMAND_INTX_DISABLE : 0);
}

/** Whether COMMAND's Interrupt Disable bit exists (PCI 2.3 and later): found out by trying, as the kernel does. */
export function canDisableIntx(fn: PciFunction): boolean {
	const before = fn.configRead(PCI_COMMAND, 2);
	fn.configWrite(PCI_COMMAND, 2, before ^ PCI_COMMAND_INTX_DISABLE);
	const changed = fn.configRead(PCI_COMMAND, 2) !== before;
	fn.configWrite(PCI_COMMAND, 2, before);
	return changed;
}

/** Does something to memory BARs that has to work while the user has decoding off, such as writing the MSI-X table. */
export function withMemoryEnabled(fn: PciFunction, action: () => void): void {
	const enabled = fn.memoryEnabled;
	if (!enabled) changeCommand(fn, PCI_COMMAND_MEMORY, 0);
	action();
	if (!enabled) changeCommand(fn, 0, PCI_COMMAND_MEMORY);
}
