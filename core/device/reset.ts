/**
 * Resetting one function.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { EAGAIN, EINVAL, ENOTTY } from "../uapi/errno.ts";
import { VFIO_DEVICE_RESET } from "../uapi/vfio.ts";
import type { NamedDevice } from "./kind.ts";

/** A device, and whether the kernel can reset it. */
export interface ResettableDevice extends NamedDevice {
	readonly resettable: boolean;
}

/**
 * `VFIO_DEVICE_RESET`: the function alone, by whichever method Linux has for it.
 *
 * @param device `resettable`: what its flags say
 * @throws VfioError `reset-failed`, which says why
 */
export function resetDevice(kernel: Kernel, fd: number, { name, kind, resettable }: ResettableDevice): void {
	try {
		// EAGAIN: the lock of the device or of its bridge is held.
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_RESET), EAGAIN);
	} catch (cause) {
		const reason = explain(cause, resettable);
		throw new VfioError("reset-failed", `Cannot reset ${name}: ${reason}`, {
			device: name,
			cause,
			remedy:
				kind === "platform"
					? [
							"Linux has a reset for some platform devices only: grep vfio-reset: /lib/modules/$(uname -r)/modules.alias shows which.",
						]
					: [
							`cat /sys/bus/pci/devices/${name}/reset_method shows the methods that Linux has for it.`,
							"A hot reset resets the whole slot, when this process owns all that is on it.",
						],
		});
	}
}

function explain(cause: unknown, resettable: boolean): string {
	if (isErrno(cause, EINVAL) && !resettable) return "it has no reset of its own";
	if (isErrno(cause, ENOTTY)) return "its reset methods are switched off in sysfs";
	if (isErrno(cause, EAGAIN)) return "another reset holds its lock";
	return (cause as Error).message;
}
