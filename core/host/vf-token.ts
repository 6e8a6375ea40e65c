/**
 * Which devices are opened with a VF token.
 *
 * @module
 */
import type { Kernel } from "../kernel.ts";
import { retry } from "../retry.ts";
import { isVfioDriver } from "./bind-plan.ts";
import type { DeviceLocation } from "./location.ts";

/**
 * Whether the kernel takes a VF token for a device: for a physical function with SR-IOV, and for a virtual function whose
 * physical one is with a VFIO driver. Where sysfs does not show the device, the kernel has to say it.
 */
export function usesVfToken(kernel: Kernel, { path }: DeviceLocation): boolean {
	let names: string[];
	try {
		names = retry(() => kernel.readDirectory(path));
	} catch {
		return true;
	}
	if (names.includes("sriov_totalvfs")) return true;
	if (!names.includes("physfn")) return false;
	try {
		const driver = retry(() => kernel.readLink(`${path}/physfn/driver`));
		return isVfioDriver(driver.split("/").at(-1) as string);
	} catch {
		return false;
	}
}
