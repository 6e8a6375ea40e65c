/**
 * How a device is assigned.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { FunctionEvent } from "./events.ts";
import { checkIdentity, type IdentityOverrides } from "./identity.ts";

/** Options of `AssignedFunction.attach`. */
export interface AssignOptions {
	/** `off`: the guest has no INTx, and BARs stay mapped at all times. `auto` when left out. */
	readonly intx?: "auto" | "off";
	/**
	 * Milliseconds after the last INTx until BARs are mapped again: 1100 when left out. 0: never again after the first.
	 */
	readonly intxMmapTimeout?: number;
	/** false: the guest sees no option ROM. */
	readonly rom?: boolean;
	/** Bit 7 of the header type; what the slot says when left out. */
	readonly multifunction?: boolean;
	/** false: no BAR is mapped, so that every access can be traced. */
	readonly mmap?: boolean;
	/** What the guest reads instead of the device's own identification. */
	readonly ids?: IdentityOverrides;
	/** The host's page size in bytes, a power of two from 4096 up; 4096 when left out. */
	readonly pageSize?: number;
	/** Learns of what failed and could not be told to the guest; every message names the device. */
	readonly onReport?: (message: string) => void;
	/** Learns of everything; the same as `onEvent` of the function, from the beginning. */
	readonly onEvent?: (event: FunctionEvent) => void;
}

/** Milliseconds. */
export const DEFAULT_INTX_MMAP_TIMEOUT = 1100;
const DEFAULT_PAGE_SIZE = 4096;

/** Options with nothing left out that has a default. */
export interface CheckedOptions extends AssignOptions {
	readonly intx: "auto" | "off";
	readonly intxMmapTimeout: number;
	readonly pageSize: number;
}

/** @throws VfioError `invalid-argument`, which names what is valid */
export function checkOptions(options: AssignOptions): CheckedOptions {
	const { intx = "auto", intxMmapTimeout = DEFAULT_INTX_MMAP_TIMEOUT, pageSize = DEFAULT_PAGE_SIZE } = options;
	if (intx !== "auto" && intx !== "off")
		throw new VfioError("invalid-argument", `Cannot use "${intx}" for intx: it is "auto" or "off"`);
	// 2^31 milliseconds are 24 days, and its nanoseconds are exact.
	if (!Number.isInteger(intxMmapTimeout) || intxMmapTimeout < 0 || intxMmapTimeout > 0x7fffffff)
		throw new VfioError(
			"invalid-argument",
			`Cannot use ${intxMmapTimeout} for intxMmapTimeout: it is a whole number of milliseconds, 0 to ${0x7fffffff}`,
		);
	if (!Number.isInteger(pageSize) || pageSize < 4096 || (pageSize & (pageSize - 1)) !== 0)
		throw new VfioError("invalid-argument", `Cannot use ${pageSize} for pageSize: it is a power of two, 4096 or more`);
	checkIdentity(options.ids ?? {});
	return { ...options, intx, intxMmapTimeout, pageSize };
}
