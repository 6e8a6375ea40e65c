/**
 * Giving an IOMMU group back to the host's drivers, by somebody who does not know what they were.
 *
 * @module
 */
import type { Kernel } from "../kernel.ts";
import { type BindPlan, planUnbindGroup } from "./bind-plan.ts";
import { groupMembers, groupOf } from "./groups.ts";
import { perform } from "./sysfs-write.ts";

/** How a group is given back. */
export interface UnbindOptions {
	/** Who gets the devices; whichever driver the kernel finds for each when left out. */
	readonly driver?: string | undefined;
	/** Only plan. */
	readonly dryRun?: boolean | undefined;
}

/**
 * Which sysfs writes take the group of a function from its VFIO drivers. It changes nothing.
 *
 * @param address a function of the group, such as `05:00.0`
 * @param driver who gets the devices; whichever driver the kernel finds for each when left out
 * @throws VfioError `malformed-address`, `no-such-device`, `no-iommu-group`, `kernel`
 */
export function planUnbind(kernel: Kernel, address: string, driver?: string): BindPlan {
	const group = groupOf(kernel, address);
	return planUnbindGroup(group, groupMembers(kernel, group), driver);
}

/**
 * Takes the group of a function from its VFIO drivers. Who bound it with {@link bindGroup} disposes what that returned
 * instead, since it remembers which driver each device had.
 *
 * @returns what was done, or would be
 * @throws VfioError as {@link planUnbind}, and `device-in-use`, `no-permission`, `unassignable-device`, `kernel`
 */
export function unbindGroup(kernel: Kernel, address: string, options: UnbindOptions = {}): BindPlan {
	const plan = planUnbind(kernel, address, options.driver);
	if (!options.dryRun)
		for (const device of plan.devices) for (const step of device.steps) perform(kernel, step, device.name, "give back");
	return plan;
}
