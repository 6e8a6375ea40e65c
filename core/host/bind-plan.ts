/**
 * Which sysfs writes give a group's devices to a VFIO driver, and which give them back: data, so that it can be printed.
 *
 * @module
 */
import { EBUSY, EEXIST, ENODEV } from "../uapi/errno.ts";
import type { GroupMember } from "./groups.ts";

/** One write(2) to a file in sysfs. */
export interface SysfsWrite {
	readonly path: string;
	/** Without a newline: `echo` adds one, and the kernel takes both. */
	readonly text: string;
	/** Answers of the kernel that leave things as the step wants them. */
	readonly tolerate: readonly number[];
}

/** A write, and what undoes it. */
export interface BindStep extends SysfsWrite {
	readonly undo: SysfsWrite | undefined;
}

/** What is done to one device. */
export interface DeviceBinding {
	readonly name: string;
	/** The driver it has before. */
	readonly from: string | undefined;
	/** In this order; undone in reverse. Empty when the device is with the driver already, or is left alone. */
	readonly steps: readonly BindStep[];
	/** Why nothing is done. */
	readonly leftAlone: string | undefined;
}

/** How a whole group comes to a driver. */
export interface BindPlan {
	readonly group: number;
	/** Who gets the devices; "" for whichever the kernel finds. */
	readonly driver: string;
	/** In the order they are handled. */
	readonly devices: readonly DeviceBinding[];
}

const DEVICES = "/sys/bus/pci/devices";
const DRIVERS = "/sys/bus/pci/drivers";
/** Has the kernel look for a driver. */
const PROBE = "/sys/bus/pci/drivers_probe";

/** Host, ISA and other bridges; those of header type 1 and 2 are `bridge` already. */
const PCI_BASE_CLASS_BRIDGE = 0x06;

/** What an override is cleared with: an empty write(2) never reaches the kernel's handler, a newline does. */
const CLEAR = "\n";

/**
 * Plans to bring every endpoint of a group to a driver. `driver_override` is used where the kernel has it, since it names
 * one device; without it, `new_id` names the model, and takes every unbound device of that model along.
 */
export function planGroup(group: number, members: readonly GroupMember[], driver: string): BindPlan {
	return { group, driver, devices: members.map((member) => planDevice(member, driver)) };
}

/** @param driver the driver the device is to have */
export function planDevice(member: GroupMember, driver: string): DeviceBinding {
	const { name, driver: from } = member;
	const leave = (leftAlone: string): DeviceBinding => ({ name, from, steps: [], leftAlone });
	if (member.bridge) return leave("a bridge or port, which VFIO neither needs nor takes");
	if (member.id === "") return leave("not a PCI function");
	if (member.class >> 16 === PCI_BASE_CLASS_BRIDGE && from === undefined)
		return leave("a host or ISA bridge without a driver");
	if (from === driver) return leave(`bound to ${driver} already`);

	const steps: BindStep[] = [];
	const step = (does: SysfsWrite, undo?: SysfsWrite) => steps.push({ ...does, undo });
	const bind = `${DRIVERS}/${driver}/bind`;
	const unbind = write(`${DRIVERS}/${driver}/unbind`, name, ENODEV);
	// First, so that it is undone last: a driver takes its device back only once the override is as it was.
	if (from !== undefined)
		step(write(`${DRIVERS}/${from}/unbind`, name, ENODEV), write(`${DRIVERS}/${from}/bind`, name, EBUSY));
	if (member.override !== undefined) {
		const override = `${DEVICES}/${name}/driver_override`;
		step(write(override, driver), write(override, member.override === "" ? CLEAR : member.override));
		step(write(bind, name), unbind);
	} else {
		const forget = write(`${DRIVERS}/${driver}/remove_id`, member.id, ENODEV);
		step(write(`${DRIVERS}/${driver}/new_id`, member.id, EEXIST), forget);
		// new_id binds what it matches at once, so the bind that follows may find its work done.
		step(write(bind, name, EBUSY), unbind);
		step(forget);
	}
	return { name, from, steps, leftAlone: undefined };
}

/**
 * Plans to take every device of a group from its VFIO driver.
 *
 * @param driver who gets them; whichever driver the kernel finds for each when left out
 */
export function planUnbindGroup(group: number, members: readonly GroupMember[], driver?: string): BindPlan {
	const devices = members.map(({ name, driver: from, override }): DeviceBinding => {
		if (from === undefined || !isVfioDriver(from)) {
			const owner = from === undefined ? "no driver has it" : `${from} has it`;
			return { name, from, steps: [], leftAlone: owner };
		}
		const steps = [write(`${DRIVERS}/${from}/unbind`, name, ENODEV)];
		if (override !== undefined) steps.push(write(`${DEVICES}/${name}/driver_override`, CLEAR));
		steps.push(write(driver === undefined ? PROBE : `${DRIVERS}/${driver}/bind`, name));
		return { name, from, steps: steps.map((step) => ({ ...step, undo: undefined })), leftAlone: undefined };
	});
	return { group, driver: driver ?? "", devices };
}

/** A VFIO driver: vfio-pci, or one of those made for a device, such as `mlx5_vfio_pci`. */
export function isVfioDriver(driver: string): boolean {
	return /vfio[-_](pci|platform|amba)$/.test(driver);
}

/** What gives the device back, in order. */
export function giveBackSteps(device: DeviceBinding): SysfsWrite[] {
	return device.steps.flatMap(({ undo }) => undo ?? []).reverse();
}

/** The shell command that makes the write as root. */
export function shellCommand(step: SysfsWrite): string {
	return `echo ${step.text === CLEAR ? '""' : quoted(step.text)} | sudo tee ${step.path}`;
}

function quoted(text: string): string {
	return /^[\w.:-]+$/.test(text) ? text : `"${text}"`;
}

function write(path: string, text: string, ...tolerate: number[]): SysfsWrite {
	return { path, text, tolerate };
}
