import { VfioError } from "../../core/errors.ts";
import type { Kernel } from "../../core/kernel.ts";
import { Host, mediatedSamples, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { choice, type OptionSpec, type ParsedArguments } from "../cli/options.ts";
import type { Terminal } from "../cli/terminal.ts";
import { UsageError } from "../cli/usage-error.ts";
import { HostClock } from "../host-clock.ts";

/** The options that say which host a command works on. */
export const HOST_OPTIONS: readonly OptionSpec[] = [
	{
		name: "host-file",
		value: "FILE",
		help: "simulate the host that this lspci paste shows (lspci -vvvnnxxxx, or -xxxx), as root",
	},
	{ name: "board", help: "simulate a board with platform devices (Arm, no PCI) instead of a PC" },
	{ name: "kernel", value: "sim|linux", help: "a simulated kernel (the default), or the one of this machine" },
];

/** What a simulated host is built with, where no paste says it. */
export type ReferenceOptions = NonNullable<Parameters<typeof Host.reference>[0]>;

/** The same where a paste says it. */
export type PasteOptions = NonNullable<Parameters<typeof Host.fromLspci>[1]>;

/** The host a command works on. */
export interface OpenedHost {
	readonly kernel: Kernel;
	/** For people: `the simulated host that comes with vfio-ts`. */
	readonly description: string;
	/** The simulation behind `kernel`; undefined on a real one. */
	readonly linux: SimulatedLinux | undefined;
	readonly host: Host | undefined;
	/** Stops the simulation's clock. */
	close(): void;
}

/**
 * Opens the host that the options name.
 *
 * @throws UsageError when the options contradict each other or the file cannot be read
 * @throws VfioError for a paste that makes no sense, naming its line
 */
export async function openHost(
	parsed: ParsedArguments,
	terminal: Terminal,
	reference: ReferenceOptions = {},
	paste: PasteOptions = {},
): Promise<OpenedHost> {
	const file = parsed.values.get("host-file")?.[0];
	const board = parsed.values.has("board");
	if (choice(parsed, "kernel", ["sim", "linux"], "sim") === "linux") {
		if (file !== undefined)
			throw new UsageError("--host-file describes a simulated host, so it does not go with --kernel linux");
		if (board) throw new UsageError("--board is a simulated host, so it does not go with --kernel linux");
		// Loaded only here: the simulation needs no native library.
		const { LinuxKernel } = await import("../../kernel-linux/mod.ts");
		return {
			kernel: new LinuxKernel(),
			description: "this machine",
			linux: undefined,
			host: undefined,
			close: () => {},
		};
	}
	if (board && file !== undefined)
		throw new UsageError("--host-file and --board describe two different hosts: give one of them");
	const host = board
		? Host.board()
		: file === undefined
			? Host.reference(reference)
			: Host.fromLspci(readPaste(file, terminal), paste);
	const clock = new HostClock();
	const linux = new SimulatedLinux({ host, clock, mediated: mediatedSamples() });
	return {
		kernel: linux.process({ name: "vfio-ts" }),
		description: board
			? "the simulated board that comes with vfio-ts"
			: file === undefined
				? "the simulated host that comes with vfio-ts"
				: `a simulated host made from ${file}`,
		linux,
		host,
		close: () => clock.stop(),
	};
}

function readPaste(file: string, terminal: Terminal): string {
	try {
		return terminal.readFile(file);
	} catch (cause) {
		throw new VfioError("invalid-argument", `Cannot read host file "${file}": ${(cause as Error).message}`, {
			cause,
			remedy: ["Make one on the host, as root: lspci -vvvnnxxxx > host.txt"],
		});
	}
}
