/**
 * Writes to sysfs that bind and unbind, with what their failures mean.
 *
 * @module
 */
import { KernelError, VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { EACCES, EBUSY, EDEADLK, EINVAL, ENODEV, EPERM, EROFS } from "../uapi/errno.ts";
import { type SysfsWrite, shellCommand } from "./bind-plan.ts";

/**
 * Makes a write of a plan.
 *
 * @param name the device it is for
 * @param action what is being done to it, for errors: `bind`
 * @throws VfioError `no-permission`, `device-in-use`, `unassignable-device`, `kernel`
 */
export function perform(kernel: Kernel, step: SysfsWrite, name: string, action: string): void {
	try {
		retry(() => kernel.writeFile(step.path, step.text));
	} catch (error) {
		if (isErrno(error, ...step.tolerate)) return;
		throw explain(error, step, name, action);
	}
}

function explain(cause: unknown, step: SysfsWrite, name: string, action: string): VfioError {
	const what = `Cannot ${action} ${name}`;
	const file = step.path.slice(step.path.lastIndexOf("/") + 1);
	const details = { device: name, cause };
	const command = `By hand, it is: ${shellCommand(step)}`;
	if (!(cause instanceof KernelError)) throw cause;
	switch (cause.errno) {
		case EACCES:
		case EPERM:
		case EROFS:
			return new VfioError("no-permission", `${what}: no permission to write ${step.path}`, {
				...details,
				remedy: ["Run it as root, or let root bind the group beforehand.", command],
			});
		case EDEADLK:
			return new VfioError("device-in-use", `${what}: it is open, and its driver waits until it is closed`, {
				...details,
				remedy: ["Close the device, or end the process that has it open, first."],
			});
		case EBUSY:
			return new VfioError("device-in-use", `${what}: ${step.path} answers that it is in use`, {
				...details,
				remedy: [
					"A function with virtual functions is busy until they are removed: write 0 to its sriov_numvfs.",
					"A group that a process owns through VFIO takes no host driver: close its devices first.",
				],
			});
		case EINVAL:
		case ENODEV:
			if (file === "bind" || file === "new_id")
				return new VfioError("unassignable-device", `${what}: the driver refuses it (${cause.message})`, {
					...details,
					remedy: [`dmesg | grep ${name} shows why.`, command],
				});
	}
	return new VfioError("kernel", `${what}: ${cause.message}`, { ...details, remedy: [command] });
}
