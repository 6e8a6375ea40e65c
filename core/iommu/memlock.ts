/**
 * Locked memory: the kernel pins what DMA may reach, and charges it to the process.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { readText } from "../host/sysfs.ts";
import type { Kernel } from "../kernel.ts";

/** How much memory a process may lock. */
export interface Memlock {
	/** RLIMIT_MEMLOCK in bytes; undefined when there is no limit. */
	readonly limit: bigint | undefined;
	/** Bytes locked at this moment. */
	readonly locked: bigint;
	/** The process has CAP_IPC_LOCK, so the limit does not bind it. */
	readonly exempt: boolean;
	/** The limit is for this process, or for all processes of its user together, of which `locked` is this one's share. */
	readonly scope: "process" | "user";
}

const CAP_IPC_LOCK = 14n;

/**
 * How much memory this process may lock, and has locked (`RLIMIT_MEMLOCK`; `VmLck`, or `VmPin` for iommufd).
 *
 * @param scope whose memory is counted: a container's mappings count for the process, and those of iommufd for its user
 * @returns undefined when procfs cannot be read: then the kernel's answer to the mapping has to do
 */
export function memlock(kernel: Kernel, scope: Memlock["scope"] = "process"): Memlock | undefined {
	let limits: string;
	let status: string;
	try {
		limits = readText(kernel, "/proc/self/limits");
		status = readText(kernel, "/proc/self/status");
	} catch (error) {
		if (error instanceof VfioError) return undefined;
		throw error;
	}
	const soft = /^Max locked memory\s+(\d+|unlimited)/m.exec(limits)?.[1];
	if (soft === undefined) return undefined;
	const counter = scope === "process" ? /^VmLck:\s*(\d+) kB/m : /^VmPin:\s*(\d+) kB/m;
	const locked = counter.exec(status)?.[1] ?? "0";
	const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
	return {
		limit: soft === "unlimited" ? undefined : BigInt(soft),
		locked: BigInt(locked) * 1024n,
		exempt: ((capabilities >> CAP_IPC_LOCK) & 1n) === 1n,
		scope,
	};
}

/** Whether so many more bytes may be locked. */
export function mayLock(state: Memlock, needed: bigint): boolean {
	return state.exempt || state.limit === undefined || state.locked + needed <= state.limit;
}

/**
 * The error for memory that may not be locked: how much is needed, what is allowed, how to raise it.
 *
 * @param needed bytes, beyond what is locked already
 * @param state undefined when it is unknown
 * @param cause the kernel's ENOMEM, when it was asked
 */
export function memlockTooLow(
	needed: bigint,
	state: Memlock | undefined,
	details: { device?: string; cause?: unknown } = {},
): VfioError {
	const total = needed + (state?.locked ?? 0n);
	const kibibytes = (total + 1023n) / 1024n;
	const limit = state?.limit === undefined ? "an unknown limit" : `a limit of ${state.limit}`;
	const locked = state ? `, of which ${state.locked} are locked already` : "";
	const together = state?.scope === "user" ? " for all processes of its user together" : "";
	return new VfioError(
		"memlock-too-low",
		`Cannot map memory for DMA: the process needs ${total} bytes of locked memory${locked}, and has ${limit}${together}`,
		{
			...details,
			remedy: [
				`In the shell that starts it: ulimit -l ${kibibytes} (as root when the hard limit is lower)`,
				`In a systemd unit: LimitMEMLOCK=${total}`,
				`For a user, in /etc/security/limits.conf: "<user> - memlock ${kibibytes}"`,
				"Or give the program CAP_IPC_LOCK: sudo setcap cap_ipc_lock+ep <program>",
			],
		},
	);
}
