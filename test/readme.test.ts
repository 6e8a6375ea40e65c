import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const SUBPATHS: Readonly<Record<string, string>> = {
	"vfio-ts": "../core/mod.ts",
	"vfio-ts/kernel-sim": "../kernel-sim/mod.ts",
};

/** The code block that follows a text. */
function block(after: string): string {
	const start = readme.indexOf("```", readme.indexOf(after));
	return readme.slice(readme.indexOf("\n", start) + 1, readme.indexOf("\n```", start + 3));
}

describe("README.md", () => {
	it("has a first program of at most 15 lines that prints what the README says", async () => {
		const program = block("# vfio-ts");
		expect(program.split("\n").length).toBeLessThanOrEqual(15);
		const names: string[] = [];
		const values: unknown[] = [];
		const body = program.replace(/^import \{ (.*) \} from "(.*)";$/gm, (_all, imported: string, from: string) => {
			names.push(...imported.split(", ").map((name) => `${name}@${from}`));
			return "";
		});
		for (const name of names) {
			const [exported, from] = name.split("@") as [string, string];
			values.push((await import(SUBPATHS[from] as string))[exported]);
		}
		const printed: string[] = [];
		const console = { log: (...words: unknown[]) => printed.push(words.join(" ")) };
		new Function("console", ...names.map((name) => name.split("@")[0] as string), body)(console, ...values);
		expect(printed.join("\n")).toBe(block("It prints"));
	});

	it("names only commands that exist", async () => {
		const { COMMANDS } = await import("../runner/cli/main.ts");
		const documented = [...readme.matchAll(/^\| (`.*`) \|/gm)].flatMap(([, cells]) =>
			[...(cells ?? "").matchAll(/`(\w+)`/g)].map(([, name]) => name),
		);
		expect(documented.sort()).toEqual(COMMANDS.map((command) => command.name).sort());
	});
});
