/**
 * How an assigned function does the steps of a reset.
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import { allOnes } from "../bytes.ts";
import { describeMember } from "../device/hot-reset.ts";
import { VfioError } from "../errors.ts";
import {
	PCI_BASE_ADDRESS_0,
	PCI_COMMAND,
	PCI_COMMAND_INTX_DISABLE,
	PCI_COMMAND_IO,
	PCI_COMMAND_MASTER,
	PCI_COMMAND_MEMORY,
	PCI_PM_CTRL_STATE_MASK,
} from "../uapi/pci_regs.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX } from "../uapi/vfio.ts";
import type { StandardCapabilities } from "./capabilities.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { Interrupts } from "./interrupts.ts";
import type { SharedReset } from "./machine-reset.ts";
import { needsSharedReset, type ResetActions, type ResetMethodInfo, type ResetTraits, resetSteps } from "./reset.ts";

const CONFIG = VFIO_PCI_CONFIG_REGION_INDEX;

/** What the order of reset methods depends on. */
export function resetTraits(device: AssignableDevice, capabilities: StandardCapabilities): ResetTraits {
	return {
		resettable: device.resettable,
		flr: capabilities.flr,
		powerReset: capabilities.power?.resets === true,
		power: capabilities.power !== undefined,
	};
}

/** Switches bits of the device's COMMAND off; a device that does not answer is left alone. */
export function clearCommand(device: AssignableDevice, bits: number): void {
	const command = device.readRegion(CONFIG, PCI_COMMAND, 2);
	if (command !== allOnes(2)) device.writeRegion(CONFIG, PCI_COMMAND, 2, command & ~bits);
}

/** No decoding, no DMA, INTx not blocked: COMMAND as it is after power-on. */
export const COMMAND_ALL = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;

/** Ties the steps to a device. */
export function resetActions(
	device: AssignableDevice,
	capabilities: StandardCapabilities,
	interrupts: Interrupts,
	report: (message: string) => void,
): ResetActions {
	return {
		steps: {
			"leave-interrupts": () => interrupts.leave(),
			"clear-command": () => clearCommand(device, COMMAND_ALL),
			"power-up": () => powerUp(device, capabilities),
			"enable-intx": () => void attempt({ report }, () => interrupts.enableIntx()),
			"clear-bars": () => {
				for (let n = 0; n < 6; n++) device.writeRegion(CONFIG, PCI_BASE_ADDRESS_0 + 4 * n, 4, 0);
			},
		},
		methods: { "device-reset": () => device.reset(), "hot-reset": () => hotResetAlone(device) },
	};
}

function powerUp(device: AssignableDevice, { power }: StandardCapabilities): void {
	if (!power) return;
	const control = device.readRegion(CONFIG, power.control, 2);
	if (control === allOnes(2) || (control & PCI_PM_CTRL_STATE_MASK) === 0) return;
	device.writeRegion(CONFIG, power.control, 2, control & ~PCI_PM_CTRL_STATE_MASK);
	const state = device.readRegion(CONFIG, power.control, 2) & PCI_PM_CTRL_STATE_MASK;
	if (state !== 0) device.onReport(`${device.name} stays in power state D${state}`);
}

/** Which ways there are to reset it. */
export function resetMethods(device: AssignableDevice, capabilities: StandardCapabilities): ResetMethodInfo[] {
	return [deviceReset(device, capabilities), hotReset(device)];
}

function deviceReset(device: AssignableDevice, { flr, power }: StandardCapabilities): ResetMethodInfo {
	const how = flr ? "FLR" : power?.resets ? "a power cycle (D3hot and back), or what Linux has" : "what Linux has";
	const exists = device.resettable;
	return { method: "device-reset", exists, detail: exists ? how : "Linux cannot reset the function by itself" };
}

function hotReset(device: AssignableDevice): ResetMethodInfo {
	try {
		const others = device.hotResetInfo().filter((member) => member.name !== device.name);
		const list = others.map((member) => {
			const whose = member.inUse ? "in use here" : member.owned ? "owned" : "not owned here";
			return describeMember(member, whose);
		});
		const company = others.length === 0 ? "with nothing else on it" : `together with ${list.join(", ")}`;
		return { method: "hot-reset", exists: true, detail: `a reset of the bus, ${company}` };
	} catch (error) {
		return { method: "hot-reset", exists: false, detail: error instanceof Error ? error.message : String(error) };
	}
}

/** A function's part in a reset of all devices on its bus. @param attached false: it takes no part any more */
export function sharedReset(
	device: AssignableDevice,
	capabilities: StandardCapabilities,
	interrupts: Interrupts,
	attached: boolean,
	report: (message: string) => void,
): SharedReset {
	const traits = resetTraits(device, capabilities);
	const { before, after } = resetSteps(traits);
	const { steps } = resetActions(device, capabilities, interrupts, report);
	return {
		name: device.name,
		needed: attached && needsSharedReset(traits),
		members: () => device.hotResetInfo(),
		before: () => {
			for (const step of before) steps[step]();
		},
		perform: () => device.hotReset(),
		after: () => {
			for (const step of after) steps[step]();
		},
	};
}

/** A reset of the bus, unless it would pull another device away from under the guest that has it. */
function hotResetAlone(device: AssignableDevice): void {
	const { name } = device;
	const busy = device.hotResetInfo().find((member) => member.name !== name && member.inUse);
	if (busy)
		throw new VfioError("reset-failed", `Cannot hot reset ${name} alone: ${busy.name} is in use as well`, {
			device: name,
		});
	device.hotReset();
}
