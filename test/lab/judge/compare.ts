import type { Exchange } from "./guest.ts";

/** One thing that the two machines say differently. */
export interface Difference {
	readonly script: string;
	/** The line that was said. */
	readonly line: string;
	/** The configuration register it is about; undefined for everything else. */
	readonly register: number | undefined;
	readonly qemu: string;
	readonly ours: string;
}

/** Configuration space in memory: what `read` of it returned is compared register by register. */
const ECAM = 0xb000_0000;
const ECAM_END = 0xc000_0000;

/**
 * Compares what two machines answered to the same lines.
 *
 * @returns the differences; a script that went another way, since it was told something else, ends with that
 */
export function compare(qemu: readonly Exchange[], ours: readonly Exchange[]): Difference[] {
	const differences: Difference[] = [];
	for (let n = 0; n < Math.max(qemu.length, ours.length); n++) {
		const theirs = qemu[n];
		const own = ours[n];
		if (!theirs || !own || theirs.line !== own.line) {
			differences.push({
				script: (theirs ?? own)?.script ?? "",
				line: "(the script went another way)",
				register: undefined,
				qemu: theirs?.line ?? "(end)",
				ours: own?.line ?? "(end)",
			});
			break;
		}
		if (theirs.answer !== own.answer) differences.push(...differencesOf(theirs, own));
	}
	return differences;
}

function differencesOf(theirs: Exchange, own: Exchange): Difference[] {
	const { script, line, register } = theirs;
	const whole = { script, line, register, qemu: theirs.answer, ours: own.answer };
	const address = Number(/^read[bwlq]? (0x[0-9a-f]+)/.exec(line)?.[1] ?? 0);
	if (address < ECAM || address >= ECAM_END) return [whole];
	const first = address % 0x1000;
	if (!line.startsWith("read 0x") || theirs.answer.length !== own.answer.length) return [{ ...whole, register: first }];
	const digits = "OK 0x".length;
	const found: Difference[] = [];
	for (let at = digits; at < theirs.answer.length; at += 8) {
		const [a, b] = [dword(theirs.answer, at), dword(own.answer, at)];
		if (a !== b) found.push({ script, line, register: first + (at - digits) / 2, qemu: a, ours: b });
	}
	return found;
}

/** Four bytes, as the number that they are in a register. */
function dword(text: string, at: number): string {
	return `0x${(text.slice(at, at + 8).match(/../g) ?? []).reverse().join("")}`;
}
