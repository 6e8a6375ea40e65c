/**
 * /proc/self: what a process can read about itself.
 *
 * @module
 */
import { ENOENT } from "../../core/uapi/errno.ts";
import { O_CLOEXEC } from "../../core/uapi/fcntl.ts";
import { capabilityMask } from "./capability.ts";
import type { SimProcess } from "./process.ts";

const SELF = "/proc/self/";

/** Whether a path is about the process that asks. */
export function isProcSelf(path: string): boolean {
	return path.startsWith(SELF) || path === "/proc/self";
}

/** @returns a file's text, or -ENOENT */
export function readProcSelf(process: SimProcess, path: string): string | number {
	const name = path.slice(SELF.length);
	if (name === "status") return status(process);
	if (name === "limits") return limits(process);
	// Nobody is in a user namespace of its own.
	if (name === "uid_map") return "         0          0 4294967295\n";
	if (name === "comm") return `${process.commandName}\n`;
	return name.startsWith("fdinfo/") ? fdinfo(process, Number(name.slice("fdinfo/".length))) : -ENOENT;
}

/** @returns what /proc/self/fd/N points to, or -ENOENT */
export function readProcSelfLink(process: SimProcess, path: string): string | number {
	if (path === "/proc/self") return String(process.pid);
	const name = path.slice(SELF.length);
	return name.startsWith("fd/") ? (process.file(Number(name.slice("fd/".length)))?.path ?? -ENOENT) : -ENOENT;
}

/** @returns the names in a directory, or -ENOENT */
export function readProcSelfDirectory(process: SimProcess, path: string): string[] | number {
	if (path === "/proc/self" || path === SELF) return ["comm", "fd", "fdinfo", "limits", "status", "uid_map"];
	if (path !== "/proc/self/fd" && path !== "/proc/self/fdinfo") return -ENOENT;
	return [...process.openFiles.keys()].map(String).sort();
}

function status(process: SimProcess): string {
	const mask = capabilityMask(process.capabilities);
	const uids = Array(4).fill(process.uid).join("\t");
	return [
		`Name:\t${process.commandName}`,
		"State:\tR (running)",
		`Pid:\t${process.pid}`,
		`Uid:\t${uids}`,
		`Gid:\t${uids}`,
		`VmLck:\t${String(process.lockedPages * 4).padStart(8)} kB`,
		`VmPin:\t${String(process.memory.pinnedPages * 4).padStart(8)} kB`,
		`CapPrm:\t${mask}`,
		`CapEff:\t${mask}`,
		"",
	].join("\n");
}

function limits(process: SimProcess): string {
	const rows = [
		["Limit", "Soft Limit", "Hard Limit", "Units"],
		["Max open files", process.openFilesLimit, process.openFilesLimit, "files"],
		["Max locked memory", process.memlock, process.memlock, "bytes"],
	];
	const limit = (value: string | number | undefined) => (value === Number.POSITIVE_INFINITY ? "unlimited" : `${value}`);
	return rows
		.map(([name, soft, hard, units]) =>
			[limit(name).padEnd(25), limit(soft).padEnd(20), limit(hard).padEnd(20), limit(units).padEnd(10)].join(" "),
		)
		.map((line) => `${line}\n`)
		.join("");
}

function fdinfo(process: SimProcess, fd: number): string | number {
	const file = process.file(fd);
	if (!file) return -ENOENT;
	const flags = file.flags | (process.isCloseOnExec(fd) ? O_CLOEXEC : 0);
	return `pos:\t${file.position}\nflags:\t0${flags.toString(8)}\nmnt_id:\t15\nino:\t1057\n${file.fdinfo()}`;
}
