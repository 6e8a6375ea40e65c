/**
 * JSON as text, where a parsed value would not do: numbers keep their digits, and the spaces are a matter of dialect.
 *
 * @module
 */

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** A value as text. @param spaced with a space after each comma and colon, as QEMU writes it */
export function jsonText(value: unknown, spaced: boolean): string {
	return respaced(JSON.stringify(value), spaced);
}

/** Valid JSON with other spaces. Strings and numbers stay as they are written. */
export function respaced(json: string, spaced: boolean): string {
	const tokens = json.match(TOKENS) ?? [];
	if (!spaced) return tokens.join("");
	return tokens.map((token) => (token === "," || token === ":" ? `${token} ` : token)).join("");
}

/**
 * The value of an object's member as it is written, so that a number of any length can be echoed.
 *
 * @param json valid JSON, an object
 * @returns undefined when there is no such member; the last one when there are several, as JSON.parse takes it
 */
export function memberText(json: string, name: string): string | undefined {
	const tokens = json.match(TOKENS) ?? [];
	let depth = 0;
	let found: string | undefined;
	for (let at = 0; at < tokens.length; at++) {
		const token = tokens[at] as string;
		if (token === "{" || token === "[") depth++;
		else if (token === "}" || token === "]") depth--;
		else if (depth === 1 && tokens[at + 1] === ":" && JSON.parse(token) === name) {
			const end = endOfValue(tokens, at + 2);
			found = tokens.slice(at + 2, end).join("");
			at = end - 1;
		}
	}
	return found;
}

function endOfValue(tokens: readonly string[], start: number): number {
	let depth = 0;
	for (let at = start; at < tokens.length; at++) {
		const token = tokens[at];
		if (token === "{" || token === "[") depth++;
		else if (token === "}" || token === "]") depth--;
		if (depth === 0) return at + 1;
	}
	return tokens.length;
}
