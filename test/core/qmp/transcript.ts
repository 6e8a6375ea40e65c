import { readFileSync } from "node:fs";

/** One line of a transcript. */
export type Line =
	/** The client sends it, with the end of the line. */
	| { readonly type: "send"; readonly text: string }
	/** The client receives it, without the end of the line. */
	| { readonly type: "receive"; readonly text: string }
	/** Somebody else does something. */
	| { readonly type: "act"; readonly text: string };

const TYPES: Readonly<Record<string, Line["type"]>> = { "-> ": "send", "<- ": "receive", "** ": "act" };

/** Reads a transcript of QMP from the fixtures. Lines that begin with # are remarks. */
export function transcript(name: string): Line[] {
	const text = readFileSync(new URL(`../../fixtures/qmp/${name}`, import.meta.url), "utf8");
	return text
		.split("\n")
		.filter((line) => line !== "" && !line.startsWith("#"))
		.map((line) => {
			const type = TYPES[line.slice(0, 3)];
			if (!type) throw new Error(`A line of ${name} begins with neither of ->, <-, **: ${line}`);
			return { type, text: line.slice(3) };
		});
}

/** What a transcript is played to. */
export interface Played {
	send(text: string): void;
	act(text: string): void | Promise<void>;
	/** Everything that was received since the last call, once nothing moves any more. */
	received(): Promise<string>;
}

/**
 * Plays a transcript.
 *
 * @returns what it was like, and what it should have been: the lines of the transcript
 */
export async function play(lines: readonly Line[], played: Played): Promise<{ was: string[]; expected: string[] }> {
	const was: string[] = [];
	const mark = { send: "-> ", receive: "<- ", act: "** " };
	for (const { type, text } of lines) {
		if (type === "receive") continue;
		was.push(mark[type] + text);
		if (type === "send") played.send(`${text}\n`);
		else await played.act(text);
		const received = await played.received();
		for (const line of received.split("\r\n").slice(0, -1)) was.push(`<- ${line}`);
	}
	return { was, expected: lines.map(({ type, text }) => mark[type] + text) };
}
