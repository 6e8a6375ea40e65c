import { VfioError } from "../../core/errors.ts";
import { bind, unbind } from "../commands/bind.ts";
import { doctor } from "../commands/doctor.ts";
import { list } from "../commands/list.ts";
import { mdev } from "../commands/mdev.ts";
import { plan } from "../commands/plan.ts";
import { qtest } from "../commands/qtest.ts";
import { run } from "../commands/run.ts";
import type { Command } from "./command.ts";
import { describeError } from "./describe-error.ts";
import { commandHelp, programHelp } from "./help.ts";
import { nearest } from "./nearest.ts";
import { parseArguments } from "./options.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage-error.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [run, plan, list, bind, unbind, mdev, doctor, qtest];

const HELP = { name: "help", help: "show this" };

/**
 * The whole command line.
 *
 * @param args what follows the program's name
 * @returns the exit code
 */
export async function main(args: readonly string[], terminal: Terminal, version: string): Promise<number> {
	const [word, ...rest] = args;
	if (word === undefined || word === "--help" || word === "-h" || word === "help") {
		const [about] = rest;
		const command = COMMANDS.find((candidate) => candidate.name === about);
		if (about !== undefined && !command) return unknownCommand(about, terminal);
		terminal.print(command ? commandHelp(command) : programHelp(COMMANDS, version));
		return 0;
	}
	if (word === "--version") {
		terminal.print(version);
		return 0;
	}
	const command = COMMANDS.find((candidate) => candidate.name === word);
	if (!command) return unknownCommand(word, terminal);
	try {
		const parsed = parseArguments(
			rest.map((argument) => (argument === "-h" ? "--help" : argument)),
			[...command.options, HELP],
		);
		if (parsed.values.has("help")) {
			terminal.print(commandHelp(command));
			return 0;
		}
		if (parsed.words.length > 0 && !command.takesWords)
			throw new UsageError(
				`${command.name} takes no words, such as "${parsed.words[0]}"${
					command.options.some(({ name }) => name === "device") ? ": a device is named by -device" : ""
				}`,
			);
		return await command.run(parsed, terminal);
	} catch (error) {
		terminal.complain(`vfio-ts ${command.name}: ${describeError(error)}`);
		if (error instanceof UsageError) terminal.complain(`vfio-ts ${command.name} --help shows the options`);
		else if (!(error instanceof VfioError) && error instanceof Error && error.stack && error.name !== "KernelError")
			terminal.complain(error.stack);
		return error instanceof UsageError ? 2 : 1;
	}
}

function unknownCommand(word: string, terminal: Terminal): number {
	const near = nearest(
		word,
		COMMANDS.map((candidate) => candidate.name),
	);
	terminal.complain(`vfio-ts: unknown command "${word}"${near ? `, did you mean "${near}"?` : ""}`);
	terminal.complain("vfio-ts --help lists the commands");
	return 2;
}
