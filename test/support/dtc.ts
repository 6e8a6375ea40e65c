/** Debian's device tree compiler, where it is installed. */
import { spawnSync } from "node:child_process";

/** Why tests that need it are skipped; printed once. */
export const dtcMissing = spawnSync("dtc", ["--version"]).status !== 0;
if (dtcMissing)
	console.info("tests with Debian's dtc are skipped: there is none here (apt-get install device-tree-compiler)");

/** @throws Error with what dtc says, warnings included: a tree of ours has none */
export function compileWithDtc(source: string): Uint8Array {
	const compiled = spawnSync("dtc", ["-I", "dts", "-O", "dtb", "-"], { input: source });
	const said = compiled.stderr.toString();
	if (compiled.status !== 0 || said !== "") throw new Error(`dtc says: ${said}\nof\n${source}`);
	return new Uint8Array(compiled.stdout);
}
