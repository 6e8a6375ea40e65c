/**
 * What a file descriptor is that somebody else has opened.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { retry } from "../retry.ts";

/** What a descriptor leads to, such as `/dev/vfio/25`; undefined when procfs does not say. */
export function descriptorTarget(kernel: Kernel, fd: number): string | undefined {
	try {
		return retry(() => kernel.readLink(`/proc/self/fd/${fd}`));
	} catch {
		return undefined;
	}
}

/**
 * The error for a descriptor that is not what it was passed as. It is left open, since nobody knows whose it is.
 *
 * @param what such as `an iommufd`
 * @param cause what the kernel answered when it was asked
 */
export function wrongDescriptor(kernel: Kernel, fd: number, what: string, remedy: string, cause?: unknown): VfioError {
	const target = descriptorTarget(kernel, fd);
	const reason = target === undefined ? "it is not open, or not that" : `it is ${target}`;
	return new VfioError("invalid-argument", `Cannot use descriptor ${fd} as ${what}: ${reason}`, {
		...(cause === undefined ? {} : { cause }),
		remedy: [remedy],
	});
}
