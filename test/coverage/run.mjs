// `npm run coverage`: the whole suite under c8. c8 around a plain vitest run counts wrongly (its module runner moves
// the offsets), so COVERAGE=1 makes vitest load the sources through Node and the strip loader beside this file.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import swc from "@swc/wasm-typescript";

const ROOMS = ["core", "kernel-sim", "kernel-linux", "runner"];
const WANTED = 90;

/** Files that hold nothing but types are never loaded, and would count as uncovered. */
function typesOnly(file) {
	const { code } = swc.transformSync(readFileSync(file, "utf8"), { mode: "strip-only" });
	const statements = code.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, "").replaceAll(/export\s*\{\s*\}\s*;?/g, "");
	return statements.replaceAll(";", "").trim() === "";
}

const excluded = ROOMS.flatMap((room) =>
	readdirSync(room, { recursive: true })
		.map((name) => join(room, name))
		.filter((file) => file.endsWith(".ts") && typesOnly(file)),
);
const { status } = spawnSync(
	process.execPath,
	[
		...["node_modules/c8/bin/c8.js", "--all", "-r", "text", "-r", "json-summary"],
		...ROOMS.flatMap((room) => ["--include", `${room}/**/*.ts`]),
		...excluded.flatMap((file) => ["--exclude", file]),
		...[process.execPath, "node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)],
	],
	{ stdio: "inherit", env: { ...process.env, COVERAGE: "1" } },
);
if (status !== 0) process.exit(status ?? 1);

const summary = JSON.parse(readFileSync("coverage/coverage-summary.json", "utf8"));
let covered = 0;
let total = 0;
for (const [file, { lines }] of Object.entries(summary)) {
	if (!/[\\/]core[\\/]/.test(file)) continue;
	covered += lines.covered;
	total += lines.total;
}
const percent = (100 * covered) / total;
console.log(`core: ${percent.toFixed(1)} % of ${total} lines covered (at least ${WANTED} wanted)`);
process.exit(percent >= WANTED ? 0 : 1);
