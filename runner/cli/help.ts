import type { Command } from "./command.ts";
import { table } from "./text.ts";

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
	const options = command.options.map((option) => [
		`--${option.name}${option.value === undefined ? "" : ` ${option.value}`}`,
		option.help,
	]);
	const sections = [
		`Usage: vfio-ts ${command.name} ${command.usage}`.trimEnd(),
		command.summary,
		...(command.details ?? []),
	];
	if (options.length > 0) sections.push(`Options:\n${table(options, "  ")}`);
	if (command.examples) sections.push(`Examples:\n${command.examples.map((example) => `  ${example}`).join("\n")}`);
	return sections.join("\n\n");
}
