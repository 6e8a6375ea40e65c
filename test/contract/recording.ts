import type { Observation } from "./observations.ts";
import type { Report } from "./run.ts";

/** What a kernel answered to every call of every case, as it is kept in `recorded/`. */
export interface Recording {
	readonly kernel: string;
	/** By the case's id: call, arguments, answer, and the bytes written, for each call. */
	readonly cases: Readonly<Record<string, readonly RecordedCall[]>>;
}

/** One line of a recording. */
export type RecordedCall = readonly [call: string, args: string, answer: number | string, bytes?: string];

/** A recording's text: one call a line. */
export function compressed(report: Report): string {
	const cases = Object.entries(report.observations).map(([id, observations]) => {
		const lines = observations.map((one) => JSON.stringify(recorded(one)));
		return `${JSON.stringify(id)}: [${lines.length > 0 ? `\n${lines.join(",\n")}\n` : ""}]`;
	});
	return `{"kernel": ${JSON.stringify(report.kernel)}, "cases": {\n${cases.join(",\n")}\n}}\n`;
}

/** An observation as it is kept: repeated bytes as one and how often. */
export function recorded(one: Observation): RecordedCall {
	const answer = typeof one.answer === "string" ? shortened(one.answer) : one.answer;
	const head = [one.call, one.args, answer] as const;
	return one.bytes === undefined ? head : [...head, shortened(one.bytes)];
}

/** Sixteen and more equal bytes in a row become `00*16 `. */
function shortened(digits: string): string {
	return /^[0-9a-f]{32,}$/.test(digits)
		? digits.replace(/(?<=^(?:..)*)([0-9a-f]{2})\1{15,}/g, (all, byte) => `(${byte}*${all.length / 2})`)
		: digits;
}
