/**
 * What a process is allowed beyond its user id (capabilities(7)).
 *
 * @module
 */

/** The capabilities that something in this kernel asks for. */
export type Capability = "CAP_SYS_ADMIN" | "CAP_SYS_RAWIO" | "CAP_IPC_LOCK" | "CAP_DAC_OVERRIDE" | "CAP_SYS_RESOURCE";

/** What root has. */
export const ALL_CAPABILITIES: readonly Capability[] = [
	"CAP_SYS_ADMIN",
	"CAP_SYS_RAWIO",
	"CAP_IPC_LOCK",
	"CAP_DAC_OVERRIDE",
	"CAP_SYS_RESOURCE",
];

/** Bit numbers of `linux/capability.h`, for /proc/self/status. */
const BITS: Readonly<Record<Capability, bigint>> = {
	CAP_DAC_OVERRIDE: 1n,
	CAP_IPC_LOCK: 14n,
	CAP_SYS_RAWIO: 17n,
	CAP_SYS_ADMIN: 21n,
	CAP_SYS_RESOURCE: 24n,
};

/** A set of capabilities as /proc/self/status writes it, 16 hexadecimal digits. */
export function capabilityMask(capabilities: Iterable<Capability>): string {
	let mask = 0n;
	for (const capability of capabilities) mask |= 1n << BITS[capability];
	return mask.toString(16).padStart(16, "0");
}
