/**
 * Resetting one function: which ways there are, in which order, and what is put back afterwards.
 *
 * @module
 */
import { EAGAIN, ENOTTY } from "../../../core/uapi/errno.ts";
import {
	PCI_AF_CTRL,
	PCI_AF_CTRL_FLR,
	PCI_BRIDGE_CONTROL,
	PCI_BRIDGE_CTL_BUS_RESET,
	PCI_CAP_ID_AF,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_PM,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL_BCR_FLR,
	PCI_PM_CTRL,
	PCI_PM_CTRL_STATE_MASK,
} from "../../../core/uapi/pci_regs.ts";
import { findCapability } from "../../hardware/config-walk.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { Machine } from "../../hardware/topology.ts";
import type { PciDevice, ResetMethod } from "../driver.ts";
import { SavedState } from "./saved-state.ts";

const D3HOT = 3;

/** The resets a function has, in the order Linux tries them. A bus reset counts when nobody else would be hit. */
export function probeResetMethods(fn: PciFunction, machine: Machine): ResetMethod[] {
	const bridge = machine.bridgeOf(fn);
	const alone = bridge !== undefined && machine.childrenOf(bridge).length === 1 && !fn.isBridge;
	return alone ? [...fn.resetMethods, "bus"] : [...fn.resetMethods];
}

/**
 * The resets a function has when Linux finds it, before the rest of its bus and what is behind it: a function that is the
 * first on its bus counts as alone there, and a bus reset is listed that will be refused.
 *
 * @param known whether Linux has found a function already
 */
export function discoverResetMethods(
	fn: PciFunction,
	machine: Machine,
	known: (other: PciFunction) => boolean,
): ResetMethod[] {
	const bridge = machine.bridgeOf(fn);
	const alone = bridge !== undefined && !machine.childrenOf(bridge).some((other) => other !== fn && known(other));
	return alone ? [...fn.resetMethods, "bus"] : [...fn.resetMethods];
}

/**
 * Resets a function unless somebody holds it, as VFIO does.
 *
 * @returns 0; -EAGAIN while a driver is leaving it; -ENOTTY when there is no way, or none is switched on
 */
export function tryResetFunction(device: PciDevice, machine: Machine): number {
	return device.leaving ? -EAGAIN : resetFunction(device, machine);
}

/** Resets a function and restores its settings: COMMAND, BARs, messages survive. @returns 0, or -ENOTTY */
export function resetFunction(device: PciDevice, machine: Machine): number {
	const possible = probeResetMethods(device.fn, machine);
	const method = device.resetMethods.find((wanted) => possible.includes(wanted));
	if (!method) return -ENOTTY;
	const { fn } = device;
	setPowerState(fn, 0);
	const state = SavedState.of(fn);
	// Nothing may come from the device while it is not itself.
	fn.configWrite(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	run(method, fn, machine);
	state.restore();
	return 0;
}

/** Resets everything below a bridge and restores the settings of all of it. */
export function resetBelow(bridge: PciFunction, machine: Machine): void {
	const states = functionsBelow(bridge, machine).map((fn) => {
		setPowerState(fn, 0);
		return SavedState.of(fn);
	});
	pulseBusReset(bridge);
	for (const state of states) state.restore();
}

/** All functions below a bridge, bridges before what is behind them. */
export function functionsBelow(bridge: PciFunction, machine: Machine): PciFunction[] {
	return machine.childrenOf(bridge).flatMap((fn) => [fn, ...(fn.isBridge ? functionsBelow(fn, machine) : [])]);
}

/** Asks the hardware for a power state; one that it does not have is ignored by it. @param state 0 to 3 */
export function setPowerState(fn: PciFunction, state: number): void {
	const pm = findCapability(fn.config, PCI_CAP_ID_PM);
	if (pm === 0 || fn.powerState === state) return;
	const control = fn.configRead(pm + PCI_PM_CTRL, 2);
	fn.configWrite(pm + PCI_PM_CTRL, 2, (control & ~PCI_PM_CTRL_STATE_MASK) | state);
}

function run(method: ResetMethod, fn: PciFunction, machine: Machine): void {
	switch (method) {
		case "flr":
			set(fn, findCapability(fn.config, PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
			break;
		case "af_flr":
			fn.configWrite(findCapability(fn.config, PCI_CAP_ID_AF) + PCI_AF_CTRL, 1, PCI_AF_CTRL_FLR);
			break;
		case "pm":
			setPowerState(fn, D3HOT);
			setPowerState(fn, 0);
			break;
		case "bus": {
			const bridge = machine.bridgeOf(fn);
			if (bridge) pulseBusReset(bridge);
			break;
		}
	}
}

function pulseBusReset(bridge: PciFunction): void {
	set(bridge, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET);
	const control = bridge.configRead(PCI_BRIDGE_CONTROL, 2);
	bridge.configWrite(PCI_BRIDGE_CONTROL, 2, control & ~PCI_BRIDGE_CTL_BUS_RESET);
}

function set(fn: PciFunction, register: number, bits: number): void {
	fn.configWrite(register, 2, fn.configRead(register, 2) | bits);
}
