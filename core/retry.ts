/**
 * Calls that Linux may answer with "try again".
 *
 * @module
 */
import { KernelError } from "./errors.ts";
import { EINTR } from "./uapi/errno.ts";

/**
 * How often a call is repeated. A signal interrupts a call once, rarely twice; a contended lock of vfio-pci (EAGAIN) is
 * held for the time of a reset of another function, and a synchronous caller cannot wait longer than by asking again.
 */
export const ATTEMPTS = 16;

/** Whether the error is this answer of the kernel. */
export function isErrno(error: unknown, ...errnos: readonly number[]): error is KernelError {
	return error instanceof KernelError && errnos.includes(error.errno);
}

/**
 * Makes a call again while it is interrupted by a signal, or refused with one of `errnos`.
 *
 * @param errnos what else than EINTR is worth another try
 * @throws what the call throws, once it was refused 16 times
 */
export function retry<T>(call: () => T, ...errnos: readonly number[]): T {
	for (let attempt = 1; ; attempt++) {
		try {
			return call();
		} catch (error) {
			if (attempt === ATTEMPTS || !isErrno(error, EINTR, ...errnos)) throw error;
		}
	}
}
