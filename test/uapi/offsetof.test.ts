// Asks the C compiler of this machine what its own headers say, so that core/uapi is held to real ones as well.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { HEADERS, headerField } from "../core/support/uapi.ts";

/** The text of a header of this machine, with comments taken out, or why there is none. */
function read(name: string): { text: string } | { missing: string } {
	if (spawnSync("cc", ["--version"]).status !== 0) return { missing: "there is no C compiler (cc)" };
	const found = spawnSync("cc", ["-E", "-P", "-dD", "-"], { input: `#include <${name}>\n`, encoding: "utf8" });
	return found.status === 0 ? { text: found.stdout } : { missing: `there is no ${name}` };
}

/** Whether a header has the field: older ones lack padding that was named later. */
function hasField(text: string, struct: string, path: string): boolean {
	const start = text.indexOf(`struct ${struct} {`);
	const body = text.slice(start, text.indexOf("\n};", start));
	return new RegExp(`\\b${path.split(".")[0]}\\b`).test(body);
}

/** Compiles and runs a program that prints a number for each C expression. */
function evaluate(header: string, expressions: readonly string[]): number[] {
	const folder = mkdtempSync(join(tmpdir(), "vfio-ts-offsetof-"));
	try {
		const lines = expressions.map((expression) => `printf("%lld\\n", (long long)(${expression}));`);
		const program = `#include <stddef.h>\n#include <stdio.h>\n#include <${header}>\nint main(void){${lines.join("\n")}return 0;}\n`;
		writeFileSync(join(folder, "offsetof.c"), program);
		execFileSync("cc", ["-o", join(folder, "offsetof"), join(folder, "offsetof.c")]);
		return execFileSync(join(folder, "offsetof"), { encoding: "utf8" }).trim().split("\n").map(Number);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** A header older than ours has this many structures and numbers at least. */
const LEAST: Readonly<Record<string, readonly [structs: number, numbers: number]>> = {
	"linux/vfio.h": [15, 80],
	"linux/iommufd.h": [8, 15],
	"linux/kvm.h": [7, 35],
};

describe.each(HEADERS)("core/uapi and this machine's $header", ({ header, ...ours }) => {
	const source = read(header);
	const missing = "missing" in source ? source.missing : undefined;
	if (missing) console.log(`offsetof of ${header} is skipped: ${missing}`);
	const text = "text" in source ? source.text : "";
	const [leastStructs = 0, leastNumbers = 0] = LEAST[header] ?? [];
	/** What this machine's header has: an older one lacks what is newer than it. */
	const structs = ours.structs.filter(([name]) => new RegExp(`struct ${name} \\{`).test(text));
	const numbers = ours.numbers.filter(([name]) => new RegExp(`\\b${name}\\b`).test(text));

	it.skipIf(missing !== undefined)("have the same structures", () => {
		expect(structs.length).toBeGreaterThanOrEqual(leastStructs);
		const asked = structs.flatMap(([name, struct]) =>
			Object.entries(struct.offsets).flatMap(([field, offset]) => {
				const path = headerField(name, field)?.path ?? field;
				if (!hasField(text, name, path)) return [];
				return [{ what: `${name}.${path}`, expression: `offsetof(struct ${name}, ${path})`, ours: offset }];
			}),
		);
		// The size is the same only where no padding was named since.
		const whole = structs.filter(([name, { offsets }]) =>
			Object.keys(offsets).every((field) => hasField(text, name, headerField(name, field)?.path ?? field)),
		);
		const sizes = whole.map(([name, struct]) => ({
			what: name,
			expression: `sizeof(struct ${name})`,
			ours: struct.size,
		}));
		const questions = [...asked, ...sizes];
		const answers = evaluate(
			header,
			questions.map(({ expression }) => expression),
		);
		const label = (value: (index: number) => unknown) => questions.map(({ what }, index) => `${what} ${value(index)}`);
		expect(label((index) => questions[index]?.ours)).toEqual(label((index) => answers[index]));
	});

	it.skipIf(missing !== undefined)("have the same numbers", () => {
		expect(numbers.length).toBeGreaterThanOrEqual(leastNumbers);
		const answers = evaluate(
			header,
			numbers.map(([name]) => name),
		);
		expect(numbers.map(([name, value]) => `${name} ${value}`)).toEqual(
			numbers.map(([name], index) => `${name} ${answers[index]}`),
		);
	});
});

describe("the fixture", () => {
	it("the fixture comes from a header like this one", () => {
		const fixture = JSON.parse(readFileSync(new URL("../fixtures/uapi.json", import.meta.url), "utf8"));
		expect(fixture._meta.source).toContain("Linux");
	});
});
