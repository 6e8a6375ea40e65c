// The names of all tests, as their files have them: what a check of ids looks through.
import { readdirSync, readFileSync } from "node:fs";

const ROOT = new URL("./", import.meta.url);

/** The source of every test file below test/, by its path. */
export function testSources(): Map<string, string> {
	const files = readdirSync(ROOT, { recursive: true, encoding: "utf8" });
	const tests = files.map((file) => file.replaceAll("\\", "/")).filter((file) => file.endsWith(".test.ts"));
	return new Map(tests.map((file) => [file, readFileSync(new URL(file, ROOT), "utf8")]));
}

/** The first word of every test's name; a name that is made at run time counts as far as it is written. */
export function firstWords(): Set<string> {
	const words = new Set<string>();
	for (const source of testSources().values())
		for (const [, word] of source.matchAll(/(?:\bit|\btest|\))\(\s*["'`]([\w-]+)/g)) words.add(word as string);
	return words;
}
