// `npm run coverage`: the whole suite under c8. c8 around a plain vitest run counts wrongly (its module runner moves
// the offsets), so COVERAGE=1 makes vitest load the sources through Node and the strip loader beside this file.
import { spawnSync } from "node:child_process";

const c8 = [
	"node_modules/c8/bin/c8.js",
	"--all",
	"--include",
	"core/**",
	"--include",
	"kernel-*/**",
	"--include",
	"runner/**",
];
const reports = ["-r", "text", "-r", "json-summary", "--exclude", "**/*.d.ts"];
const { status } = spawnSync(
	process.execPath,
	[...c8, ...reports, process.execPath, "node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)],
	{ stdio: "inherit", env: { ...process.env, COVERAGE: "1" } },
);
if (status !== 0) process.exit(status ?? 1);

const { readFileSync } = await import("node:fs");
const summary = JSON.parse(readFileSync("coverage/coverage-summary.json", "utf8"));
let covered = 0;
let total = 0;
for (const [file, { lines }] of Object.entries(summary)) {
	if (!/[\\/]core[\\/]/.test(file)) continue;
	covered += lines.covered;
	total += lines.total;
}
const percent = (100 * covered) / total;
console.log(`core: ${percent.toFixed(1)} % of ${total} lines covered (at least 90 wanted)`);
process.exit(percent >= 90 ? 0 : 1);
