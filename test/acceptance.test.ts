import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { firstWords } from "./test-names.ts";

interface AcceptanceId {
	readonly id: string;
	readonly line: string;
	/** Why no test has it yet. */
	readonly later?: string;
}

const ids: readonly AcceptanceId[] = JSON.parse(
	readFileSync(new URL("fixtures/acceptance-ids.json", import.meta.url), "utf8"),
);

describe("the acceptance list", () => {
	it("has a test whose name begins with each id, except for those that say why not yet", () => {
		const words = firstWords();
		const missing = ids.filter(({ id, later }) => later === undefined && !words.has(id));
		expect(missing.map(({ id, line }) => `${id}: ${line}`)).toEqual([]);
		const later = ids.filter((entry) => entry.later !== undefined && !words.has(entry.id));
		console.info(later.map(({ id, line, later: reason }) => `later: ${id} (${line}): ${reason}`).join("\n"));
	});

	it("has each id once", () => {
		expect(new Set(ids.map(({ id }) => id)).size).toBe(ids.length);
	});
});

describe("the kernel seam", () => {
	it("F-01 is the system calls that VFIO needs, and no more", () => {
		const source = readFileSync(new URL("../core/kernel.ts", import.meta.url), "utf8");
		const body = /export interface Kernel \{([\s\S]*?)\n\}/.exec(source)?.[1] ?? "";
		const calls = [...body.matchAll(/^\t(\w+)\(/gm)].map(([, name]) => name);
		expect(calls).toEqual([
			"open",
			"close",
			"ioctl",
			"read",
			"write",
			"pread",
			"pwrite",
			"mmap",
			"eventfd",
			"watch",
			"allocate",
			"adopt",
			"readFile",
			"writeFile",
			"readLink",
			"readDirectory",
		]);
	});
});
