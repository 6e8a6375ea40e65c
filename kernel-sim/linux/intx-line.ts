/**
 * Which input of the interrupt controller a function's pin leads to.
 *
 * @module
 */
import { PCI_INTERRUPT_PIN } from "../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../hardware/function.ts";

/** IO-APIC inputs 16 to 23 are the PCI bus's. */
const FIRST_LINE = 16;

/** @returns the line's number, 0 for a function without a pin */
export function lineOf(fn: PciFunction): number {
	const pin = fn.config[PCI_INTERRUPT_PIN] ?? 0;
	return pin === 0 ? 0 : FIRST_LINE + ((fn.address.device + pin - 1) & 7);
}
