import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** What this process holds of the kernel. */
export interface ProcessState {
	/** What its file descriptors stand for, sorted: eventfds, `/dev/vfio/25`, devices. */
	readonly files: readonly string[];
	/** Bytes of its memory that are locked, by mlock(2) or by DMA mappings. */
	readonly locked: number;
}

/** Looks at this process in procfs. */
export function processState(): ProcessState {
	const files: string[] = [];
	for (const fd of readdirSync("/proc/self/fd")) {
		try {
			files.push(readlinkSync(`/proc/self/fd/${fd}`));
		} catch {
			// The descriptor that read the directory is closed by now.
		}
	}
	const locked = /^VmLck:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
	return { files: files.sort(), locked: Number(locked) * 1024 };
}

/** What the process holds now and did not before, in words; empty when everything was given back. */
export function notGivenBack(before: ProcessState, after: ProcessState): string[] {
	const rest = [...before.files];
	const left = after.files.filter((file) => {
		const at = rest.indexOf(file);
		if (at >= 0) rest.splice(at, 1);
		return at < 0;
	});
	if (after.locked > before.locked) left.push(`${after.locked - before.locked} bytes of locked memory`);
	return left;
}
