// Packs the project, installs the archive into an empty project, and imports every subpath from there: what a user gets.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { exports: subpaths, version } = JSON.parse(readFileSync("package.json", "utf8"));
const scratch = mkdtempSync(join(tmpdir(), "vfio-ts-package-"));
const npm = (args, cwd) =>
	execFileSync("npm", [...args, "--no-audit", "--no-fund"], {
		cwd,
		encoding: "utf8",
		stdio: ["ignore", "pipe", "inherit"],
	});

try {
	npm(["pack", "--silent", "--pack-destination", scratch], process.cwd());
	writeFileSync(join(scratch, "package.json"), JSON.stringify({ name: "scratch", private: true, type: "module" }));
	npm(["install", "--silent", `./vfio-ts-${version}.tgz`], scratch);

	const names = Object.keys(subpaths).filter((name) => name !== "./package.json");
	const program = names
		.map((name) => {
			const specifier = name === "." ? "vfio-ts" : `vfio-ts/${name.slice(2)}`;
			return `const exported = Object.keys(await import("${specifier}")); if (exported.length === 0) throw new Error("${specifier} exports nothing"); console.log("${specifier}:", exported.length, "exports");`;
		})
		.map((line) => `{ ${line} }`)
		.join("\n");
	writeFileSync(join(scratch, "imports.mjs"), program);
	process.stdout.write(execFileSync(process.execPath, ["imports.mjs"], { cwd: scratch, encoding: "utf8" }));

	const output = execFileSync(process.execPath, ["node_modules/vfio-ts/dist/runner/main.js", "run", "--quiet"], {
		cwd: scratch,
		encoding: "utf8",
	});
	process.stdout.write(`installed vfio-ts run: ${output}`);
} finally {
	rmSync(scratch, { recursive: true, force: true });
}
