/**
 * May the process lock as much memory as a guest has? All of it is pinned, since a device may reach any of it.
 *
 * @module
 */

import { formatBytes } from "../../format-bytes.ts";
import { mayLock, memlock, memlockTooLow } from "../../iommu/memlock.ts";
import type { Kernel } from "../../kernel.ts";
import { type Check, evidence, type HostSubject } from "./check.ts";

/** May the process lock the guest's memory? */
export const LOCKED_MEMORY: Check<HostSubject> = {
	item: "locked memory",
	examine({ kernel, memory }) {
		const state = memlock(kernel);
		const need = `${formatBytes(memory)} of guest memory`;
		if (!state)
			return { level: "unknown", text: `/proc/self/limits does not say whether ${need} may be locked: try ulimit -l` };
		const remedy = memlockTooLow(memory, state).remedy;
		if (!mayLock({ ...state, exempt: false }, memory)) {
			const limit = `RLIMIT_MEMLOCK is ${formatBytes(state.limit ?? 0n)}, of which ${formatBytes(state.locked)} are locked`;
			if (!state.exempt) return { level: "problem", text: `Too little for ${need}: ${limit}`, remedy };
			// The kernel asks for the capability in the first user namespace, which /proc/self/status does not tell.
			if (inUserNamespace(kernel))
				return {
					level: "warning",
					text: `Too little for ${need}, unless CAP_IPC_LOCK is real: ${limit}, and in a user namespace the capability does not count`,
					remedy,
				};
			return { level: "ok", text: `Enough for ${need}: with CAP_IPC_LOCK, no limit binds` };
		}
		const limit = state.limit === undefined ? "unlimited" : formatBytes(state.limit);
		return { level: "ok", text: `Enough for ${need}: RLIMIT_MEMLOCK is ${limit}` };
	},
};

/** The first namespace maps every user to itself. */
function inUserNamespace(kernel: Kernel): boolean {
	const map = evidence(kernel, "/proc/self/uid_map");
	return map !== undefined && !/^\s*0\s+0\s+4294967295\s*$/.test(map);
}
