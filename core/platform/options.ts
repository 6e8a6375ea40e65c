/**
 * How a platform device is assigned.
 *
 * @module
 */
import { VfioError } from "../errors.ts";

/** Options of `PlatformDevice.attach`; behind each, the name that users of QEMU know it by. */
export interface PlatformOptions {
	/**
	 * Milliseconds after the last interrupt until regions are mapped again: 1100 when left out. 0: never again after the
	 * first. (`mmap-timeout-ms`)
	 */
	readonly mmapTimeout?: number;
	/** false: no region is mapped, so that every access can be traced. (`x-no-mmap`) */
	readonly mmap?: boolean;
	/** false: interrupts go through this process even where the machine has KVM. (`x-irqfd`) */
	readonly irqfd?: boolean;
	/** Learns of what failed and could not be told to the guest; every message names the device. */
	readonly onReport?: (message: string) => void;
}

/** Milliseconds. */
export const DEFAULT_MMAP_TIMEOUT = 1100;

/** @throws VfioError `invalid-argument`, which says what is valid */
export function checkPlatformOptions(options: PlatformOptions): PlatformOptions & { readonly mmapTimeout: number } {
	const { mmapTimeout = DEFAULT_MMAP_TIMEOUT } = options;
	// 2^31 milliseconds are 24 days, and its nanoseconds are exact.
	if (!Number.isInteger(mmapTimeout) || mmapTimeout < 0 || mmapTimeout > 0x7fffffff)
		throw new VfioError(
			"invalid-argument",
			`Cannot use ${mmapTimeout} for mmapTimeout: it is a whole number of milliseconds, 0 to ${0x7fffffff}`,
		);
	return { ...options, mmapTimeout };
}
