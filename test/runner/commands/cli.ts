import { readFileSync } from "node:fs";
import { main } from "../../../runner/cli/main.ts";

/** What a command printed, and how it ended. */
export interface Ended {
	readonly code: number;
	readonly out: string;
	readonly err: string;
}

/** Runs the command line in this process. */
export async function cli(
	args: readonly string[],
	options: {
		files?: Readonly<Record<string, string>>;
		interrupted?: AbortSignal;
		onLine?: (line: string) => void;
	} = {},
): Promise<Ended> {
	const out: string[] = [];
	const err: string[] = [];
	const code = await main(
		args,
		{
			print: (line) => {
				out.push(line);
				options.onLine?.(line);
			},
			complain: (line) => void err.push(line),
			interrupted: options.interrupted ?? new AbortController().signal,
			readFile: (path) => options.files?.[path] ?? readFileSync(path, "utf8"),
		},
		"0.0.0",
	);
	return { code, out: out.join("\n"), err: err.join("\n") };
}

/** A recorded host or device, as lspci printed it. */
export function paste(name: string): string {
	return readFileSync(new URL(`../../fixtures/lspci/${name}`, import.meta.url), "utf8");
}
