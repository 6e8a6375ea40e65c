/** Finds the programs in documentation: `@example` blocks of doc comments, and code blocks of Markdown. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = new URL("../../", import.meta.url).pathname;
const ROOMS = ["core", "kernel-sim", "kernel-linux", "runner"];

export interface Example {
	/** Below the repository's root, such as `core/release.ts`. */
	readonly file: string;
	/** Of its first line of code in that file, from 1. */
	readonly line: number;
	/** What it documents: the declaration after the comment, or the words before the block. */
	readonly subject: string;
	readonly code: string;
}

/** The examples of every source file, in the files' order. */
export function sourceExamples(): Example[] {
	return ROOMS.flatMap((room) =>
		readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" })
			.filter((name) => name.endsWith(".ts"))
			.map((name) => `${room}/${name}`)
			.sort()
			.flatMap((file) => docExamples(file, readFileSync(join(ROOT, file), "utf8"))),
	);
}

/** The `@example` blocks of one source text. */
export function docExamples(file: string, text: string): Example[] {
	const lines = text.split("\n");
	const examples: Example[] = [];
	for (const [at, line] of lines.entries()) {
		if (!/^\s*(?:\/\*)?\*\s*@example/.test(line)) continue;
		const end = lines.findIndex((candidate, index) => index >= at && candidate.includes("*/"));
		const comment = lines.slice(at, end).map((text) => text.replace(/^\s*\* ?/, ""));
		const open = comment.findIndex((text) => text.startsWith("```"));
		const close = comment.findIndex((text, index) => index > open && text.startsWith("```"));
		if (open < 0 || close < 0) throw new Error(`${file}:${at + 1}: an @example is a block between \`\`\`ts and \`\`\``);
		examples.push({
			file,
			line: at + open + 2,
			subject: subjectOf(lines[end + 1] ?? ""),
			code: comment.slice(open + 1, close).join("\n"),
		});
	}
	return examples;
}

/** The blocks of a Markdown text whose language is `ts`. */
export function markdownExamples(file: string, text: string): Example[] {
	const lines = text.split("\n");
	const examples: Example[] = [];
	for (const [at, line] of lines.entries()) {
		if (line !== "```ts") continue;
		const code = lines.slice(at + 1, lines.indexOf("```", at + 1)).join("\n");
		examples.push({ file, line: at + 2, subject: lines[at - 2] ?? "", code });
	}
	return examples;
}

function subjectOf(declaration: string): string {
	return /(?:class|function|interface|const|type)\s+(\w+)/.exec(declaration)?.[1] ?? declaration.trim();
}
