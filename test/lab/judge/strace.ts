import { join } from "node:path";
import { unpacked } from "../packages.ts";

/** Fetches strace, or finds it in the cache. @returns the command line that runs a program under it */
export function strace(): (args: readonly string[]) => string[] {
	const folder = unpacked("strace-bookworm", ["strace"], { dependencies: true, suite: "bookworm" });
	const libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map((path) => join(folder, path)).join(":");
	return (args) => [
		join(folder, "lib64/ld-linux-x86-64.so.2"),
		"--library-path",
		libraries,
		join(folder, "usr/bin/strace"),
		...args,
	];
}
