/**
 * Why a device does not go into an address space of iommufd. What is mapped there is pinned and checked only now, so that
 * the reason may be an older mapping.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { readText } from "../host/sysfs.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno } from "../retry.ts";
import { EADDRINUSE, EBUSY, EFAULT, EINVAL, ENOMEM } from "../uapi/errno.ts";
import type { BoundDevice, Ioas } from "./ioas.ts";
import type { IovaRange } from "./iommu.ts";
import { memlockTooLow } from "./memlock.ts";
import { describeStretch } from "./planner.ts";

/** @param cause the kernel's answer */
export function explainAttach(ioas: Ioas, device: BoundDevice, cause: unknown): VfioError {
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
function reserved(ioas: Ioas, device: BoundDevice, cause: unknown): VfioError {
	const windows = reservedWindows(ioas.kernel, device.groupId);
	const clash = [...ioas.mappings].flatMap((mapping) => {
		const end = mapping.start + mapping.size - 1n;
		const window = windows.find((one) => one.start <= end && mapping.start <= one.end);
		return window ? [{ mapping, window }] : [];
	})[0];
	const reason = clash
		? `what is mapped at ${describeStretch(clash.mapping.start, clash.mapping.size)} covers ${describeStretch(clash.window.start, clash.window.end - clash.window.start + 1n)}, which the host keeps (${clash.window.kind})`
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

/** `reserved_regions` of the group, one a line: first address, last address, kind. */
function reservedWindows(kernel: Kernel, group: number | undefined): (IovaRange & { readonly kind: string })[] {
	if (group === undefined) return [];
	let text: string;
	try {
		text = readText(kernel, `/sys/kernel/iommu_groups/${group}/reserved_regions`);
	} catch {
		return [];
	}
	return text.split("\n").flatMap((line) => {
		const [, start, end, kind] = /^(0x[0-9a-f]+) (0x[0-9a-f]+) (\S+)/.exec(line) ?? [];
		if (start === undefined || end === undefined || kind === undefined || kind === "direct-relaxable") return [];
		return [{ start: BigInt(start), end: BigInt(end), kind }];
	});
}
