import type { OptionSpec, ParsedArguments } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** One of the words after `vfio-ts`. */
export interface Command {
	readonly name: string;
	/** What follows the name, for the help. */
	readonly usage: string;
	/** One line. */
	readonly summary: string;
	/** Paragraphs under the usage line. */
	readonly details?: readonly string[];
	readonly options: readonly OptionSpec[];
	/** Words that are no options mean something to it; otherwise they are refused. */
	readonly takesWords?: boolean;
	readonly examples?: readonly string[];
	/** @returns the exit code */
	run(parsed: ParsedArguments, terminal: Terminal): Promise<number>;
}
