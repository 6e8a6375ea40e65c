/**
 * Calls of KVM, with errors that say what was wanted.
 *
 * @module
 */
import { VfioError, type VfioErrorCode } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { retry } from "../retry.ts";

/**
 * ioctl(2) on a file of KVM.
 *
 * @param action for the error, such as `connect an eventfd to GSI 24`
 * @throws VfioError
 */
export function callKvm(
	kernel: Kernel,
	fd: number,
	request: number,
	argument: Uint8Array | number,
	action: string,
	code: VfioErrorCode = "kernel",
): number {
	try {
		return retry(() => kernel.ioctl(fd, request, argument));
	} catch (cause) {
		throw new VfioError(code, `Cannot ${action}: KVM answers ${(cause as Error).message}`, { cause });
	}
}
