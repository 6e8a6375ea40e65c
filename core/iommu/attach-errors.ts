/**
 * Why a device does not go into an address space of iommufd. What is mapped there is pinned and checked only now, so that
 * the reason may be an older mapping.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { reservedRegions } from "../host/reserved-regions.ts";
import { isErrno } from "../retry.ts";
import { EADDRINUSE, EBUSY, EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import type { BoundDevice } from "./bound-device.ts";
import type { Iommu } from "./iommu.ts";
import { memlockTooLow } from "./memlock.ts";
import { describeStretch } from "./planner.ts";

/** @param cause the kernel's answer */
export function explainAttach(ioas: Iommu, device: BoundDevice, cause: unknown): VfioError {
	const { name } = device;
	const details = { device: name, cause };
	const failed = (code: VfioError["code"], reason: string, remedy: string[] = []) =>
		new VfioError(code, `Cannot open ${name}: ${reason}`, { ...details, remedy });
	if (isErrno(cause, ENOMEM)) {
		const mapped = [...ioas.mappings].reduce((sum, { size }) => sum + size, 0n);
		return memlockTooLow(mapped, ioas.lockable(), details);
	}
	if (isErrno(cause, EADDRINUSE)) return reserved(ioas, device, cause);
	if (isErrno(cause, EFAULT))
		return failed(
			"mapping-failed",
			"memory that is mapped in its address space does not exist any more, is not as writable as asked for, or is a device's, which iommufd does not map",
		);
	if (isErrno(cause, EINVAL))
		return failed(
			"device-in-use",
			"its address space does not take it: a device of its IOMMU group is in another one",
			["Give all devices of a group the same address space."],
		);
	if (isErrno(cause, EBUSY)) return failed("device-in-use", "a reset of its IOMMU group is under way");
	return failed("kernel", `its address space does not take it: ${(cause as Error).message}`);
}

/** Something is mapped where the device's IOMMU has no addresses, or where the host keeps them. */
function reserved(ioas: Iommu, device: BoundDevice, cause: unknown): VfioError {
	const regions = device.groupId === undefined ? [] : (reservedRegions(ioas.kernel, device.groupId) ?? []);
	const windows = regions.filter(({ kind }) => kind !== "direct-relaxable");
	const clash = [...ioas.mappings].flatMap((mapping) => {
		const end = mapping.start + mapping.size - 1n;
		const window = windows.find((one) => one.start <= end && mapping.start <= one.end);
		return window ? [{ mapping, window }] : [];
	})[0];
	const reason = clash
		? `what is mapped at ${describeStretch(clash.mapping.start, clash.mapping.size)} covers ${clash.window.range}, which the host keeps (${clash.window.kind})`
		: "something is mapped where its IOMMU has no addresses, or where the host keeps them";
	return new VfioError("iova-out-of-range", `Cannot open ${device.name}: ${reason}`, {
		device: device.name,
		cause,
		remedy: [
			"Attach the first device before memory is mapped: then the ranges are known.",
			"Place guest memory around the windows that the host reserves, such as that of interrupts.",
		],
	});
}
