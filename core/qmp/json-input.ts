/**
 * From what arrives on a connection, in whatever pieces, to requests.
 *
 * @module
 */
import type { QmpFault } from "./fault.ts";

/** Something that arrived whole. */
export type JsonItem =
	| { readonly type: "object"; readonly text: string; readonly value: Readonly<Record<string, unknown>> }
	| { readonly type: "fault"; readonly fault: QmpFault };

/** Bounds of what one request may cost. */
export interface JsonLimits {
	/** Characters; 1 Mi when left out. */
	readonly length?: number;
	/** Levels of nesting; 1024 when left out, as in QEMU. */
	readonly depth?: number;
}

const DEFAULT_LENGTH = 1 << 20;
const DEFAULT_DEPTH = 1024;
/** How much of what cannot be read is shown to whoever wrote it. */
const SHOWN = 40;

/**
 * Cuts a stream of characters into JSON values. They may come one after the other with or without space between, over
 * several lines, or in pieces. What cannot be read becomes a fault, and reading goes on: after what is too long or too
 * deep, and within a string, at the next line.
 */
export class JsonInput {
	readonly #length: number;
	readonly #depth: number;
	/** The part of the value that came with earlier pieces. */
	#carried = "";
	#nesting = 0;
	#inString = false;
	#escaped = false;
	/** Within a value that has neither brackets nor quotes. */
	#inWord = false;
	/** Dropping what is left of the line. */
	#skipping = false;

	constructor(limits: JsonLimits = {}) {
		this.#length = limits.length ?? DEFAULT_LENGTH;
		this.#depth = limits.depth ?? DEFAULT_DEPTH;
	}

	/** Takes a piece. @returns what is whole by now, in order */
	push(piece: string): JsonItem[] {
		const items: JsonItem[] = [];
		let start = 0;
		const finish = (end: number) => {
			items.push(parse(this.#carried + piece.slice(start, end)));
			start = end;
			this.#restart();
		};
		const give = (fault: QmpFault, end: number, skip: boolean) => {
			items.push({ type: "fault", fault });
			start = end;
			this.#restart();
			this.#skipping = skip;
		};
		for (let at = 0; at < piece.length; at++) {
			const character = piece[at] as string;
			if (this.#skipping) {
				this.#skipping = character !== "\n";
				start = at + 1;
				continue;
			}
			if (!this.#started && isSpace(character)) {
				start = at + 1;
				continue;
			}
			if (this.#carried.length + at - start >= this.#length) {
				give({ type: "oversize", limit: this.#length }, at + 1, character !== "\n");
			} else if (this.#inString) {
				if (character === "\n") give(syntax(this.#carried + piece.slice(start, at)), at + 1, false);
				else if (this.#escaped) this.#escaped = false;
				else if (character === "\\") this.#escaped = true;
				else if (character === '"') {
					this.#inString = false;
					if (this.#nesting === 0) finish(at + 1);
				}
			} else if (this.#inWord && (isSpace(character) || '{}[]",:'.includes(character))) {
				finish(at);
				at--;
			} else if (character === '"') {
				this.#inString = true;
			} else if (character === "{" || character === "[") {
				if (++this.#nesting > this.#depth) give({ type: "too-deep", depth: this.#depth }, at + 1, true);
			} else if (character === "}" || character === "]") {
				if (--this.#nesting <= 0) finish(at + 1);
			} else if (this.#nesting === 0) {
				if (character === "," || character === ":") finish(at + 1);
				else this.#inWord = true;
			}
		}
		this.#carried += piece.slice(start);
		return items;
	}

	get #started(): boolean {
		return this.#nesting > 0 || this.#inString || this.#inWord;
	}

	#restart(): void {
		this.#carried = "";
		this.#nesting = 0;
		this.#inString = false;
		this.#escaped = false;
		this.#inWord = false;
	}
}

function parse(text: string): JsonItem {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch {
		return { type: "fault", fault: syntax(text) };
	}
	if (typeof value !== "object" || value === null || Array.isArray(value))
		return { type: "fault", fault: { type: "not-an-object" } };
	return { type: "object", text, value: value as Record<string, unknown> };
}

function syntax(text: string): QmpFault {
	return { type: "syntax", near: text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text };
}

function isSpace(character: string): boolean {
	return character === " " || character === "\n" || character === "\r" || character === "\t";
}
