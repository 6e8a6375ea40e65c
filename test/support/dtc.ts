/** Debian's device tree compiler, where it is installed. */
import { spawnSync } from "node:child_process";

/** Why tests that need it are skipped; printed once. */
export const dtcMissing = spawnSync("dtc", ["--version"]).status !== 0;
if (dtcMissing)
	console.info("tests with Debian's dtc are skipped: there is none here (apt-get install device-tree-compiler)");

/** @throws Error with what dtc says, warnings included: a tree of ours has none */
export function compileWithDtc(source: string): Uint8Array {
	// In a source of ours phandles are numbers, where dtc would rather see labels; in a blob there is no difference.
	return runDtc(["-I", "dts", "-W", "no-clocks_property"], source);
}

/** Reads a blob and writes it again. @throws Error with what dtc says, warnings included */
export function readWithDtc(blob: Uint8Array): Uint8Array {
	return runDtc(["-I", "dtb"], blob);
}

function runDtc(options: readonly string[], input: string | Uint8Array): Uint8Array {
	const { status, stderr, stdout } = spawnSync("dtc", [...options, "-O", "dtb", "-"], { input });
	if (status !== 0 || stderr.length > 0) throw new Error(`dtc says: ${stderr.toString()}\nof\n${input}`);
	return new Uint8Array(stdout);
}
