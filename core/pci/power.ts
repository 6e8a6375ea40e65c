/**
 * Power states of a function (PCI Bus Power Management 1.2, 3.2).
 *
 * @module
 */
import { load } from "../bytes.ts";
import { PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET, PCI_PM_CTRL_STATE_MASK } from "../uapi/pci_regs.ts";
import type { ConfigRegisters } from "./config-space.ts";
import type { Capability } from "./walk.ts";

/** What matters of the power management capability. */
export interface PowerCapability {
	/** Where its control register is in configuration space. */
	readonly control: number;
	/** Going from D3hot to D0 resets the function. */
	readonly resets: boolean;
}

/** Reads the capability. @returns undefined when it is too short to have a control register */
export function readPower(config: Uint8Array, capability: Capability): PowerCapability | undefined {
	if (capability.size < PCI_PM_CTRL + 2) return undefined;
	const control = capability.offset + PCI_PM_CTRL;
	return { control, resets: (load(config, control, 2) & PCI_PM_CTRL_NO_SOFT_RESET) === 0 };
}

/** Lets the copy follow the power state, since BARs decode in D0 only; the guest still reads the device's register. */
export function trackPower(registers: ConfigRegisters, power: PowerCapability): void {
	const { control } = power;
	registers.set(control, 2, registers.get(control, 2) & ~PCI_PM_CTRL_STATE_MASK);
	registers.wmask[control] = PCI_PM_CTRL_STATE_MASK;
}

/** The state in the copy: 0 (D0) to 3 (D3hot). */
export function powerState(registers: ConfigRegisters, power: PowerCapability | undefined): number {
	return power ? registers.get(power.control, 2) & PCI_PM_CTRL_STATE_MASK : 0;
}
