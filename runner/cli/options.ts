import { nearest } from "./nearest.ts";
import { UsageError } from "./usage-error.ts";

/** An option a command knows: a flag, or one with a value (that may come several times). */
export interface OptionSpec {
	/** The long name, without dashes. One dash before it works as well, as QEMU writes `-device`. */
	readonly name: string;
	/** What stands for its value in the help; a flag has none. */
	readonly value?: string;
	readonly repeatable?: boolean;
	readonly help: string;
}

/** What the command line gave: by option name, and the words that are no options. */
export interface ParsedArguments {
	readonly values: ReadonlyMap<string, readonly string[]>;
	readonly words: readonly string[];
}

/**
 * Sorts a command's arguments into options and words.
 *
 * @throws UsageError for an option that is unknown (naming the nearest one), given twice, lacks its value or takes none
 */
export function parseArguments(args: readonly string[], specs: readonly OptionSpec[]): ParsedArguments {
	const values = new Map<string, string[]>();
	const words: string[] = [];
	for (let at = 0; at < args.length; at++) {
		const argument = args[at] ?? "";
		if (argument === "--") {
			words.push(...args.slice(at + 1));
			break;
		}
		if (!argument.startsWith("-") || argument === "-") {
			words.push(argument);
			continue;
		}
		const [name = "", inline] = split(argument.replace(/^--?/, ""));
		const spec = specs.find((candidate) => candidate.name === name);
		if (!spec) throw unknownOption(argument, specs);
		let value = "";
		if (spec.value !== undefined) {
			const given = inline ?? args[++at];
			if (given === undefined) throw new UsageError(`Option "--${name}" needs a value: --${name} ${spec.value}`);
			value = given;
		} else if (inline !== undefined) {
			throw new UsageError(`Option "--${name}" takes no value, but was given "${inline}"`);
		}
		const before = values.get(name);
		if (before && !spec.repeatable) throw new UsageError(`Option "--${name}" is given twice`);
		values.set(name, [...(before ?? []), value]);
	}
	return { values, words };
}

function split(argument: string): [string, string | undefined] {
	const equals = argument.indexOf("=");
	return equals < 0 ? [argument, undefined] : [argument.slice(0, equals), argument.slice(equals + 1)];
}

function unknownOption(argument: string, specs: readonly OptionSpec[]): UsageError {
	const [name] = split(argument.replace(/^--?/, ""));
	const near = nearest(
		name,
		specs.map((spec) => spec.name),
	);
	return new UsageError(`Unknown option "${argument}"${near ? `, did you mean "--${near}"?` : ""}`);
}

/** The value of an option that must be one of a few words. @throws UsageError naming the choices and the nearest */
export function choice<const T extends string>(
	parsed: ParsedArguments,
	name: string,
	choices: readonly T[],
	fallback: T,
): T {
	const given = parsed.values.get(name)?.[0];
	if (given === undefined) return fallback;
	const chosen = choices.find((candidate) => candidate === given);
	if (chosen !== undefined) return chosen;
	const near = nearest(given, choices);
	throw new UsageError(
		`Option "--${name}" takes ${choices.join(", ")}, not "${given}"${near ? `; did you mean "${near}"?` : ""}`,
	);
}

/** The value of an option that must be a whole number. @throws UsageError naming the range */
export function integer(parsed: ParsedArguments, name: string, from: number, to: number, fallback: number): number {
	const given = parsed.values.get(name)?.[0];
	if (given === undefined) return fallback;
	const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
	if (!(value >= from && value <= to))
		throw new UsageError(`Option "--${name}" takes a whole number from ${from} to ${to}, not "${given}"`);
	return value;
}
