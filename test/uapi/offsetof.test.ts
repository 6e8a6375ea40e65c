// Asks the C compiler of this machine what its own linux/vfio.h says, so that core/uapi is held to a real header as well.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { headerField, ourNumbers, ourStructs } from "../core/support/uapi.ts";

/** The header with comments taken out, or why there is none. */
function header(): { text: string } | { missing: string } {
	if (spawnSync("cc", ["--version"]).status !== 0) return { missing: "there is no C compiler (cc)" };
	const found = spawnSync("cc", ["-E", "-P", "-dD", "-"], { input: "#include <linux/vfio.h>\n", encoding: "utf8" });
	return found.status === 0 ? { text: found.stdout } : { missing: "there is no linux/vfio.h" };
}

const source = header();
const missing = "missing" in source ? source.missing : undefined;
if (missing) console.log(`offsetof of linux/vfio.h is skipped: ${missing}`);
const text = "text" in source ? source.text : "";

/** What this machine's header has: an older one lacks what is newer than it. */
const structs = ourStructs.filter(([name]) => new RegExp(`struct ${name} \\{`).test(text));

/** Whether this machine's header has the field: older ones lack padding that was named later. */
function hasField(struct: string, path: string): boolean {
	const start = text.indexOf(`struct ${struct} {`);
	const body = text.slice(start, text.indexOf("\n};", start));
	return new RegExp(`\\b${path.split(".")[0]}\\b`).test(body);
}
const numbers = ourNumbers.filter(([name]) => new RegExp(`\\b${name}\\b`).test(text));

/** Compiles and runs a program that prints a number for each C expression. */
function evaluate(expressions: readonly string[]): number[] {
	const folder = mkdtempSync(join(tmpdir(), "vfio-ts-offsetof-"));
	try {
		const lines = expressions.map((expression) => `printf("%lld\\n", (long long)(${expression}));`);
		const program = `#include <stddef.h>\n#include <stdio.h>\n#include <linux/vfio.h>\nint main(void){${lines.join("\n")}return 0;}\n`;
		writeFileSync(join(folder, "offsetof.c"), program);
		execFileSync("cc", ["-o", join(folder, "offsetof"), join(folder, "offsetof.c")]);
		return execFileSync(join(folder, "offsetof"), { encoding: "utf8" }).trim().split("\n").map(Number);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

describe.skipIf(missing !== undefined)("core/uapi/vfio.ts and this machine's linux/vfio.h", () => {
	it("have the same structures", () => {
		expect(structs.length).toBeGreaterThan(15);
		const asked = structs.flatMap(([name, struct]) =>
			Object.entries(struct.offsets).flatMap(([field, offset]) => {
				const path = headerField(name, field)?.path ?? field;
				if (!hasField(name, path)) return [];
				return [{ what: `${name}.${path}`, expression: `offsetof(struct ${name}, ${path})`, ours: offset }];
			}),
		);
		// The size is the same only where no padding was named since.
		const whole = structs.filter(([name, { offsets }]) =>
			Object.keys(offsets).every((field) => hasField(name, headerField(name, field)?.path ?? field)),
		);
		const sizes = whole.map(([name, struct]) => ({
			what: name,
			expression: `sizeof(struct ${name})`,
			ours: struct.size,
		}));
		const questions = [...asked, ...sizes];
		const answers = evaluate(questions.map(({ expression }) => expression));
		const label = (value: (index: number) => unknown) => questions.map(({ what }, index) => `${what} ${value(index)}`);
		expect(label((index) => questions[index]?.ours)).toEqual(label((index) => answers[index]));
	});

	it("have the same numbers", () => {
		expect(numbers.length).toBeGreaterThan(80);
		const answers = evaluate(numbers.map(([name]) => name));
		expect(numbers.map(([name, value]) => `${name} ${value}`)).toEqual(
			numbers.map(([name], index) => `${name} ${answers[index]}`),
		);
	});

	it("the fixture comes from a header like this one", () => {
		const fixture = JSON.parse(readFileSync(new URL("../fixtures/uapi.json", import.meta.url), "utf8"));
		expect(fixture._meta.source).toContain("Linux");
	});
});
