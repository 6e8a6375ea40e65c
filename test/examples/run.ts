/**
 * Runs an example and checks what it says about itself:
 *
 * - `expression; // value` and `const name = expression; // value`, where the value is a JavaScript literal; it may also be
 *   a comment by itself on the next line. Any other comment is prose.
 * - `console.log(…); // text`: what is printed; prose when it begins with "such as".
 */
import { format } from "node:util";
import swc from "@swc/wasm-typescript";
import { expect } from "vitest";
import { type Example, ROOT } from "./extract.ts";

/** Objects that an example takes for granted, by the name it has for them. Getters are asked only for what is named. */
export type Environment = object;

export interface Outcome {
	/** One entry for each call of `console.log`. */
	readonly printed: readonly string[];
	/** How many results the example states. */
	readonly checked: number;
}

type Names = Readonly<Record<string, unknown>>;
type Program = (...values: unknown[]) => Promise<void>;

const AsyncFunction = (async () => {}).constructor as new (...parametersAndBody: string[]) => Program;
export const SUBPATHS: Readonly<Record<string, string>> = {
	"vfio-ts": "core/mod.ts",
	"vfio-ts/kernel-sim": "kernel-sim/mod.ts",
	"vfio-ts/kernel-linux": "kernel-linux/mod.ts",
	"vfio-ts/runner": "runner/mod.ts",
};
/** Whose export a name is where two entry points have it: the last one's. */
export const IN_SCOPE: Readonly<Record<string, readonly string[]>> = {
	core: ["kernel-sim", "core"],
	"kernel-sim": ["core", "kernel-sim"],
	"kernel-linux": ["core", "kernel-linux"],
	runner: ["kernel-sim", "core", "runner"],
	"README.md": ["kernel-sim", "core"],
};

/**
 * Runs it as the body of an async function, with the package's exports, those of its own file and the environment in scope.
 *
 * @param afterwards a program that goes on where the example ends, to use what it only declares
 */
export async function runExample(example: Example, environment: Environment = {}, afterwards = ""): Promise<Outcome> {
	const printed: string[] = [];
	let checked = 0;
	const print = (...words: unknown[]) => void printed.push(format(...words));
	const { imports, body } = await takeImports(`${example.code}\n${afterwards}`);
	const scope: Record<string, unknown> = {
		console: { log: print },
		expect,
		$check: (actual: unknown, expected: unknown, statement: string) => {
			checked++;
			expect(actual, statement).toEqual(expected);
		},
		$printed: (count: number, expected: string, statement: string) => {
			checked++;
			expect(printed.slice(count).join("\n"), statement).toBe(expected);
		},
		$count: () => printed.length,
	};
	const code = withChecks(stripTypes(body));
	const exported = await exportsFor(example.file);
	for (const name of namesIn(code)) {
		if (name in scope) continue;
		if (name in imports) scope[name] = imports[name];
		else if (name in environment) scope[name] = (environment as Names)[name];
		else if (name in exported) scope[name] = exported[name];
	}
	const at = `${example.file}:${example.line} (${example.subject})`;
	try {
		const program = new AsyncFunction(...Object.keys(scope), `"use strict"; {\n${code}\n}`);
		await program(...Object.values(scope));
	} catch (error) {
		throw explain(at, example.file, error);
	}
	return { printed, checked };
}

function explain(at: string, file: string, error: unknown): unknown {
	if (!(error instanceof Error)) return error;
	const missing = error instanceof ReferenceError && /^(\S+) is not defined/.exec(error.message)?.[1];
	error.message = missing
		? `${at}: the example uses "${missing}", which nobody exports. Declare it in the example, or add it to the ` +
			`environment of "${file}" in test/examples/environments.ts`
		: `${at}: ${error.message}`;
	return error;
}

/** Takes the import statements off, and does what they say. */
async function takeImports(code: string): Promise<{ imports: Names; body: string }> {
	const statement = /^import (?:\{ (.*) \}|\* as (\w+)|(\w+)) from "(.*)";$/gm;
	const imports: Record<string, unknown> = {};
	for (const [, names, all, byDefault, from = ""] of code.matchAll(statement)) {
		const file = SUBPATHS[from];
		const module: Names = await import(file === undefined ? from : `${ROOT}${file}`);
		if (all) imports[all] = module;
		if (byDefault) imports[byDefault] = module["default"];
		for (const name of names?.split(", ") ?? []) {
			if (name.startsWith("type ")) continue;
			if (!(name in module)) throw new Error(`"${from}" exports no "${name}"`);
			imports[name] = module[name];
		}
	}
	return { imports, body: code.replace(statement, "") };
}

async function exportsFor(file: string): Promise<Names> {
	const names: Record<string, unknown> = {};
	for (const room of IN_SCOPE[file.split("/")[0] ?? ""] ?? [])
		Object.assign(names, await import(`${ROOT}${room}/mod.ts`));
	if (file.endsWith(".ts")) Object.assign(names, await import(`${ROOT}${file}`));
	return names;
}

/** What it names and does not declare: nothing in the environment needs to be made, or be in the way, for the rest. */
export function namesIn(code: string): Set<string> {
	const statements = code.replaceAll(/\/\/.*/g, "");
	const declared = declarations(statements);
	const names = statements.match(/[A-Za-z_$][\w$]*/g) ?? [];
	return new Set(names.filter((name) => !declared.has(name)));
}

function declarations(code: string): Set<string> {
	const patterns = code.matchAll(/\b(?:const|let|class|function) (?:\{([^}]*)\}|\[([^\]]*)\]|([\w$]+))/g);
	return new Set([...patterns].flatMap(([, ...names]) => names.join(" ").match(/[\w$]+/g) ?? []));
}

/** Types become blanks, comments stay. An example may use `await` and `return`, which a module must not at its top. */
function stripTypes(code: string): string {
	const before = "async function example() {\n";
	const { code: stripped } = swc.transformSync(`${before}${code}\n}`, { mode: "strip-only" });
	return stripped.slice(before.length, stripped.lastIndexOf("}"));
}

/** Every statement of a result becomes a check of it. */
export function withChecks(code: string): string {
	const lines = code.split("\n");
	return lines
		.map((line, index) => {
			const [, indent = "", statement = "", comment] = /^(\s*)(.*;)(?:\s+\/\/ (.*))?$/.exec(line) ?? [];
			const said = (comment ?? /^\s*\/\/ (.*)$/.exec(lines[index + 1] ?? "")?.[1])?.trim();
			if (said === undefined) return line;
			if (/^console\.log\(/.test(statement)) {
				if (comment === undefined || said.startsWith("such as ")) return line;
				const check = `$printed($before, ${JSON.stringify(said)}, ${JSON.stringify(line.trim())});`;
				return `${indent}{ const $before = $count(); ${statement} ${check} }`;
			}
			if (!isLiteral(said)) return line;
			const [, name] = /^(?:const|let) (?:\{ )?(\w+)\b[^=]* = /.exec(statement) ?? [];
			const about = `${said}, ${JSON.stringify(`${statement} // ${said}`)}`;
			if (name !== undefined) return `${indent}${statement} $check(${name}, ${about});`;
			const expression = statement.slice(0, -1);
			if (!parses(`return (${expression}\n)`))
				throw new SyntaxError(`put the expression whose value is "${said}" on one line: ${line.trim()}`);
			return `${indent}$check((${expression}), ${about});`;
		})
		.join("\n");
}

/** Numbers, strings, arrays, objects and so on; words that happen to be an identifier are prose. */
function isLiteral(text: string): boolean {
	return /^(?:[-\d"[{]|new Map\(|(?:true|false|null|undefined)$)/.test(text) && parses(`return (${text}\n)`);
}

function parses(body: string): boolean {
	try {
		new AsyncFunction(body);
		return true;
	} catch {
		return false;
	}
}
