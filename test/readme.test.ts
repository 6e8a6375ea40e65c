import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { placeOf } from "./examples/environments.ts";
import { markdownExamples } from "./examples/extract.ts";
import { runExample } from "./examples/run.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const programs = markdownExamples("README.md", readme);

/** The code block that follows a text. */
function block(after: string): string {
	const start = readme.indexOf("```", readme.indexOf(after));
	return readme.slice(readme.indexOf("\n", start) + 1, readme.indexOf("\n```", start + 3));
}

describe("README.md", () => {
	it("has a first program of at most 15 lines that prints what the README says", async () => {
		const [first] = programs;
		if (!first) throw new Error("there is no program");
		expect(first.code.split("\n").length).toBeLessThanOrEqual(15);
		const { printed } = await runExample(first);
		expect(printed.join("\n")).toBe(block("It prints"));
	});

	it.each(programs.slice(1).map((program) => [program.line, program] as const))(
		"has a program at line %i that runs",
		async (_line, program) => {
			const { environment, afterwards } = placeOf(program);
			await runExample(program, environment, afterwards);
		},
	);

	it("names only commands that exist", async () => {
		const { COMMANDS } = await import("../runner/cli/main.ts");
		const documented = [...readme.matchAll(/^\| (`.*`) \|/gm)].flatMap(([, cells]) =>
			[...(cells ?? "").matchAll(/`(\w+)`/g)].map(([, name]) => name),
		);
		expect(documented.sort()).toEqual(COMMANDS.map((command) => command.name).sort());
	});
});
