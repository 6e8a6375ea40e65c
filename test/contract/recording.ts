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

/** A call that two kernels answer differently. */
export interface Difference {
	readonly case: string;
	readonly call: string;
	readonly recorded: string;
	readonly answered: string;
}

/** Compares what a kernel answered with a recording of another. Cases that only one of them has are not compared. */
export function differences(report: Report, recording: Recording): Difference[] {
	const found: Difference[] = [];
	for (const [id, observations] of Object.entries(report.observations)) {
		const kept = recording.cases[id];
		if (!kept) continue;
		const answered = observations.map(recorded);
		for (let index = 0; index < Math.max(kept.length, answered.length); index++) {
			const [theirs, ours] = [kept[index], answered[index]];
			if (JSON.stringify(theirs) === JSON.stringify(ours)) continue;
			const same = theirs?.[0] === ours?.[0] && theirs?.[1] === ours?.[1];
			found.push({
				case: id,
				call: `#${index} ${theirs?.[0]}(${theirs?.[1]})`,
				recorded: theirs?.slice(2).join(" ") ?? "no call",
				answered: same
					? (ours?.slice(2).join(" ") ?? "no call")
					: `${ours?.[0]}(${ours?.[1]}) ${ours?.slice(2).join(" ")}`,
			});
			// After a call that was not made on both sides nothing fits any more.
			if (!same) break;
		}
	}
	return found;
}
