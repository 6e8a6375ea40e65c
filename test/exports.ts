/** What a module exports, read from its text: types have no other trace. */
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const ROOT = new URL("../", import.meta.url).pathname;

export interface Export {
	/** `type` for what is exported as a type only, whatever it is. */
	readonly kind: "class" | "function" | "const" | "type";
	/** Where it is declared, below the repository's root. */
	readonly file: string;
	/** From 1. */
	readonly line: number;
	/** The doc comment above it, if any. */
	readonly doc: string;
}

/** The names that a source file exports, re-exports included. */
export function exportsOf(file: string): Map<string, Export> {
	const text = readFileSync(join(ROOT, file), "utf8");
	const from = (specifier: string) => exportsOf(normalize(join(dirname(file), specifier)));
	const found = declarationsIn(file, text.split("\n"));
	for (const [, specifier = ""] of text.matchAll(/^export \* from "([^"]*)";/gm))
		for (const [name, declared] of from(specifier)) found.set(name, declared);
	for (const [, allTypes, list = "", specifier = ""] of text.matchAll(
		/^export (type )?\{([^}]*)\} from "([^"]*)";/gm,
	)) {
		const there = from(specifier);
		for (const [, type, name = "", renamed] of list.matchAll(/(type )?(\w+)(?: as (\w+))?/g)) {
			const declared = there.get(name);
			if (!declared) throw new Error(`${file} exports "${name}" of ${specifier}, where it cannot be found`);
			found.set(renamed ?? name, allTypes || type ? { ...declared, kind: "type" } : declared);
		}
	}
	return found;
}

function declarationsIn(file: string, lines: readonly string[]): Map<string, Export> {
	const found = new Map<string, Export>();
	for (const [at, line] of lines.entries()) {
		const [, word, name] = /^export (?:async |abstract )?(class|function|const|interface|type) (\w+)/.exec(line) ?? [];
		if (word === undefined || name === undefined) continue;
		const kind = word === "class" || word === "function" || word === "const" ? word : "type";
		found.set(name, { kind, file, line: at + 1, doc: docAbove(lines, at) });
	}
	return found;
}

function docAbove(lines: readonly string[], at: number): string {
	if (!lines[at - 1]?.trimEnd().endsWith("*/")) return "";
	let start = at - 1;
	while (start > 0 && !lines[start]?.startsWith("/**")) start--;
	return lines.slice(start, at).join("\n");
}
