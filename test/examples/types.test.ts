import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { exportsOf } from "../exports.ts";
import { keyFor, placeOf } from "./environments.ts";
import { type Example, markdownExamples, ROOT, sourceExamples } from "./extract.ts";
import { IN_SCOPE, namesIn, SUBPATHS } from "./run.ts";

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
/** Below the repository, where modules are found; nothing else looks there. */
const CACHE = join(ROOT, "node_modules/.cache");

const exported = new Map<string, ReturnType<typeof exportsOf>>();
function exportsIn(file: string): ReturnType<typeof exportsOf> {
	const names = exported.get(file) ?? exportsOf(file);
	exported.set(file, names);
	return names;
}

/** The example as a module that declares what it takes for granted. */
function asModule(example: Example): string {
	const { environment = {} } = placeOf(example);
	const statement = /^import .* from "(.*)";$/gm;
	const imports = [...example.code.matchAll(statement)].map(([text, from = ""]) =>
		SUBPATHS[from] ? text.replace(`"${from}"`, `"${ROOT}${SUBPATHS[from]}"`) : text,
	);
	const sources = (IN_SCOPE[example.file.split("/")[0] ?? ""] ?? []).map((room) => `${room}/mod.ts`);
	if (example.file.endsWith(".ts")) sources.push(example.file);
	const body = example.code.replaceAll(statement, "");
	const declared: string[] = [];
	for (const name of namesIn(body)) {
		if (imports.some((text) => new RegExp(`\\b${name}\\b.* from `).test(text))) continue;
		const source = sources.findLast((file) => exportsIn(file).has(name));
		if (name in environment) declared.push(name);
		else if (source !== undefined) imports.push(`import { ${name} } from "${ROOT}${source}";`);
	}
	const type = `import("${ROOT}test/examples/environments.ts").EnvironmentOf<"${keyFor(example)}">`;
	const taken = declared.length === 0 ? "" : `const { ${declared.join(", ")} } = {} as ${type};`;
	return `${imports.join(" ")} export async function example() { ${taken} {\n${body}\n} }\n`;
}

describe("the examples", () => {
	mkdirSync(CACHE, { recursive: true });
	const folder = mkdtempSync(join(CACHE, "examples-"));
	afterAll(() => rmSync(folder, { recursive: true }));

	it("have the types they should have", () => {
		const readme = markdownExamples("README.md", readFileSync(join(ROOT, "README.md"), "utf8"));
		const examples = [...sourceExamples(), ...readme];
		for (const [index, example] of examples.entries()) writeFileSync(join(folder, `${index}.ts`), asModule(example));
		const compilerOptions = {
			noEmit: true,
			// An example may leave what it makes unused, and say what an index is good for.
			noUnusedLocals: false,
			noUnusedParameters: false,
			noImplicitOverride: false,
			verbatimModuleSyntax: false,
			isolatedModules: false,
			rewriteRelativeImportExtensions: false,
			typeRoots: [join(ROOT, "node_modules/@types")],
		};
		const config = { extends: `${ROOT}tsconfig.base.json`, compilerOptions, include: ["*.ts"] };
		writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
		const { stdout } = spawnSync(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { encoding: "utf8" });
		const mistakes = stdout.split("\n").flatMap((line) => {
			const [, index, row, message] = /(\d+)\.ts\((\d+),\d+\): (.*)$/.exec(line) ?? [];
			const example = line.startsWith(".") || line.includes("examples-") ? examples[Number(index)] : undefined;
			return example ? [`${example.file}:${example.line + Number(row) - 2}: ${message}`] : [];
		});
		expect(mistakes).toEqual([]);
	});
});
