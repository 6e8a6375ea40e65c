import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { firstWords } from "./test-names.ts";

interface AcceptanceId {
	readonly id: string;
	readonly line: string;
	/** Why no test has it yet. */
	readonly later?: string;
}

function fixture(name: string) {
	return JSON.parse(readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8"));
}

const ids: readonly AcceptanceId[] = fixture("acceptance-ids.json");

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

describe("what users of other programs met", () => {
	const all: readonly { id: string; line: string }[] = fixture("field-bugs.json");
	const later: readonly { id: string; reason: string }[] = fixture("field-bugs-later.json");

	it("has a test whose name begins with each id, except for those that say why not yet", () => {
		const words = firstWords();
		const excused = new Set(later.map(({ id }) => id));
		const missing = all.filter(({ id }) => !words.has(id) && !excused.has(id));
		expect(missing.map(({ id, line }) => `${id}: ${line}`)).toEqual([]);
		expect([...excused].filter((id) => !all.some((one) => one.id === id))).toEqual([]);
		expect([...excused].filter((id) => words.has(id))).toEqual([]); // an excuse for what exists
		console.info(later.map(({ id, reason }) => `later: ${id}: ${reason}`).join("\n"));
	});
});

describe("defects of other programs", () => {
	it("have a test each", () => {
		const words = firstWords();
		const missing = Array.from({ length: 15 }, (_, n) => `trap-${n + 1}`).filter((id) => !words.has(id));
		expect(missing).toEqual([]);
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
