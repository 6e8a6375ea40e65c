import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = new URL("..", import.meta.url);
const biome = createRequire(import.meta.url).resolve("@biomejs/biome/bin/biome");

/** What each room may name, and what it may not: file, what it says, whether the linter lets it pass. */
const IMPORTS: readonly [file: string, statement: string, allowed: boolean][] = [
	["core/pci/a.ts", 'import "./b.ts"', true],
	["core/pci/b.ts", 'import "../errors.ts"', true],
	["core/pci/c.ts", 'import "../host/address.ts"', true],
	["core/host/doctor/d.ts", 'import "../../errors.ts"', true],
	["core/pci/e.ts", 'import "../../kernel-sim/mod.ts"', false],
	["core/f.ts", 'import "../runner/mod.ts"', false],
	["core/g.ts", 'import "node:fs"', false],
	["core/h.ts", 'import "koffi"', false],
	["core/i.ts", 'import "memfs"', false],
	["core/j.ts", "export const now = () => Date.now()", false],
	["core/k.ts", "export const later = () => setTimeout(() => {}, 1)", false],
	["kernel-sim/a.ts", 'import "../core/kernel.ts"', true],
	["kernel-sim/b.ts", 'import "memfs"', true],
	["kernel-sim/c.ts", 'import "koffi"', false],
	["kernel-sim/d.ts", 'import "node:fs"', false],
	["kernel-sim/e.ts", 'import "../kernel-linux/mod.ts"', false],
	["kernel-sim/f.ts", "export const now = () => performance.now()", false],
	["kernel-linux/a.ts", 'import "koffi"', true],
	["kernel-linux/b.ts", 'import "../core/kernel.ts"', true],
	["kernel-linux/c.ts", 'import "../kernel-sim/mod.ts"', false],
	["runner/a.ts", 'import "node:fs"', true],
	["runner/b.ts", 'import "../kernel-sim/mod.ts"', true],
	["runner/c.ts", 'import "koffi"', false],
	["runner/d.ts", 'import "../test/a.ts"', false],
];

describe("the boundaries between rooms", () => {
	let folder: string;
	let refused: string;

	beforeAll(() => {
		folder = mkdtempSync(join(tmpdir(), "vfio-ts-boundaries-"));
		const config = JSON.parse(readFileSync(new URL("biome.json", ROOT), "utf8"));
		delete config.$schema;
		writeFileSync(join(folder, "biome.json"), JSON.stringify(config));
		for (const [file, statement] of IMPORTS) {
			mkdirSync(dirname(join(folder, file)), { recursive: true });
			writeFileSync(join(folder, file), `${statement};\n`);
		}
		const args = [biome, "lint", "--max-diagnostics=1000", "--colors=off"];
		refused = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" }).stderr;
	});
	afterAll(() => {
		rmSync(folder, { recursive: true });
	});

	it.each(IMPORTS)("%s: %s; allowed: %s", (file, _statement, allowed) => {
		expect(refused.includes(`${file}:`)).toBe(!allowed);
	});

	it("hold in the tree", () => {
		execFileSync(process.execPath, [biome, "lint", "core", "kernel-sim", "kernel-linux", "runner"], {
			cwd: ROOT,
			stdio: "pipe",
		});
	});
});
