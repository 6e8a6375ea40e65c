import type { Command } from "./command.ts";
import { table, wrap } from "./text.ts";

/** Of the lines, where their words allow it. */
const WIDTH = 120;

/** What `vfio-ts --help` prints. */
export function programHelp(commands: readonly Command[], version: string): string {
	return `vfio-ts ${version}: assigns PCI devices through Linux VFIO, and simulates all of it where there is no hardware

Usage: vfio-ts COMMAND [OPTIONS]

${table(
	commands.map((command) => [command.name, command.summary]),
	"  ",
)}

vfio-ts COMMAND --help describes a command. Without --host-file or --kernel linux, every command works on a simulated
host that comes with the program: no device, no IOMMU, no root.

Exit codes: 0 all went well, 1 it did not, 2 the command line cannot be understood, 130 interrupted.`;
}

/** What `vfio-ts COMMAND --help` prints. */
export function commandHelp(command: Command): string {
	const names = command.options.map(
		({ name, value }) => `${name.length === 1 ? "-" : "--"}${name}${value === undefined ? "" : ` ${value}`}`,
	);
	const room = WIDTH - 4 - Math.max(...names.map((name) => name.length));
	const options = command.options.flatMap(({ help }, at) =>
		wrap(help, room)
			.split("\n")
			.map((line, number) => [number === 0 ? (names[at] ?? "") : "", line]),
	);
	const sections = [
		`Usage: vfio-ts ${command.name} ${command.usage}`.trimEnd(),
		command.summary,
		...(command.details ?? []).map((text) => wrap(text, WIDTH)),
	];
	if (options.length > 0) sections.push(`Options:\n${table(options, "  ")}`);
	if (command.examples) sections.push(`Examples:\n${command.examples.map((example) => `  ${example}`).join("\n")}`);
	return sections.join("\n\n");
}
