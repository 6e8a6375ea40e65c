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

/**
 * `VFIO_DEVICE_RESET`: the function alone, by whichever method Linux has for it.
 *
 * @param resettable what the device's flags say
 * @throws VfioError `reset-failed`, which says why
 */
export function resetDevice(kernel: Kernel, fd: number, device: string, resettable: boolean): void {
	try {
		// EAGAIN: the lock of the device or of its bridge is held.
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_RESET), EAGAIN);
	} catch (cause) {
		const reason = explain(cause, resettable);
		throw new VfioError("reset-failed", `Cannot reset ${device}: ${reason}`, {
			device,
			cause,
			remedy: [
				`cat /sys/bus/pci/devices/${device}/reset_method shows the methods that Linux has for it.`,
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
