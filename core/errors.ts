/**
 * The two kinds of error: what a kernel answered, and what that means for whoever assigns a device.
 *
 * @module
 */
import { errnoName, errnoText } from "./uapi/errno.ts";

/**
 * A system call failed. The seam throws it and nothing else.
 *
 * @example
 * ```ts
 * try {
 *   kernel.open("/dev/vfio/25", O_RDWR);
 * } catch (error) {
 *   if (error instanceof KernelError && error.errno === EBUSY) console.log("somebody has it");
 * }
 * ```
 */
export class KernelError extends Error {
	override readonly name = "KernelError";
	/** The error number, positive. */
	readonly errno: number;
	/** The call, such as `open` or `VFIO_GROUP_SET_CONTAINER`. */
	readonly call: string;
	/** What it was called on: a path, or `fd 7`. */
	readonly target: string;

	constructor(errno: number, call: string, target: string) {
		super(`${call} ${target}: ${errnoText(errno)} (${errnoName(errno)})`);
		this.errno = errno;
		this.call = call;
		this.target = target;
	}
}

/** What went wrong, for a program to tell apart. The text is for a person. */
export type VfioErrorCode =
	| "malformed-address"
	| "no-such-device"
	| "no-iommu-group"
	| "not-bound"
	| "group-not-viable"
	| "device-in-use"
	| "already-attached"
	| "already-exists"
	| "none-available"
	| "no-permission"
	| "no-vfio"
	| "unsupported-iommu"
	| "memlock-too-low"
	| "iova-out-of-range"
	| "dma-entries-exhausted"
	| "misaligned-memory"
	| "overlapping-memory"
	| "unassignable-device"
	| "malformed-config-space"
	| "malformed-msix"
	| "reset-failed"
	| "interrupt-failed"
	| "mapping-failed"
	| "not-hot-pluggable"
	| "guest-busy"
	| "write-combining-refused"
	| "no-dma-buf"
	| "no-kvm"
	| "kernel"
	| "invalid-argument"
	| "disposed";

/** What a {@link VfioError} knows beyond its sentence. */
export interface VfioErrorDetails {
	/** The device it is about, such as `0000:05:00.0`. */
	readonly device?: string;
	/** The kernel's answer behind it. */
	readonly cause?: unknown;
	/** What to do about it: sentences, or commands to run, one each. */
	readonly remedy?: readonly string[];
}

/**
 * Something that was asked for cannot be done. The message says "Cannot <action> <object>: <reason>"; `remedy` says how
 * to mend it, where that is known.
 */
export class VfioError extends Error {
	override readonly name = "VfioError";
	readonly code: VfioErrorCode;
	readonly device: string | undefined;
	readonly remedy: readonly string[];

	constructor(code: VfioErrorCode, message: string, details: VfioErrorDetails = {}) {
		super(message, details.cause === undefined ? undefined : { cause: details.cause });
		this.code = code;
		this.device = details.device;
		this.remedy = details.remedy ?? [];
	}

	/** The errno behind it, or undefined when no kernel call was involved. */
	get errno(): number | undefined {
		return this.cause instanceof KernelError ? this.cause.errno : undefined;
	}
}
