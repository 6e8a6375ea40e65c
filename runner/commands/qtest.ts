import process from "node:process";
import type { Command } from "../cli/command.ts";
import { MACHINE_OPTIONS, machineOptions } from "../cli/machine-options.ts";
import type { ParsedArguments } from "../cli/options.ts";
import { parseSize } from "../cli/size.ts";
import { parseSocketOption } from "../cli/socket-option.ts";
import { UsageError } from "../cli/usage-error.ts";
import { assemble, openEndpoint, type QtestEndpoint, type QtestStreams, serve } from "../qtest/mod.ts";
import { HOST_OPTIONS, openHost } from "./host-options.ts";

/** `vfio-ts qtest`. */
export const qtest: Command = {
	name: "qtest",
	usage: "(-qtest unix:PATH[,server=on] | --stdio) -device vfio-pci,host=ADDRESS... [OPTIONS]",
	summary: "a machine without a processor, driven by a script in QEMU's qtest protocol",
	details: [
		"The machine is laid out as QEMU's q35: RAM at 0, pcie.0 with a memory controller at 00.0, configuration space at\nports 0xcf8 and 0xcfc and, once PCIEXBAR (0x60 of 00:00.0) is written, in memory. The same script can drive\nqemu-system-x86_64 -machine q35 -accel tcg -S -qtest unix:PATH, and compare what both say.",
		"As QEMU, it connects to the socket, and with server=on waits there. It ends with the connection.",
	],
	options: [
		...HOST_OPTIONS,
		...MACHINE_OPTIONS,
		{ name: "qtest", value: "unix:PATH", help: "speak at this socket" },
		{ name: "stdio", help: "speak on standard input and output" },
		{ name: "memory", value: "SIZE", help: "RAM of the machine, such as 64M; 128M when left out" },
	],
	examples: [
		"printf 'outl 0xcf8 0x80002800\\ninl 0xcfc\\n' | vfio-ts qtest --stdio -device vfio-pci,host=05:00.0,addr=5",
		"vfio-ts qtest -qtest unix:/tmp/q -device pcie-root-port,id=rp1,addr=8 -device vfio-pci,host=05:00.0,bus=rp1 --kernel linux",
	],
	async run(parsed, terminal) {
		const endpoint = endpointIn(parsed);
		const { devices, rootPorts, iommufds } = machineOptions(parsed);
		if (devices.length === 0) throw new UsageError("qtest needs a device: -device vfio-pci,host=ADDRESS");
		const memory = parsed.values.get("memory")?.[0];
		const opened = await openHost(parsed, terminal);
		try {
			const assembly = assemble({
				kernel: opened.kernel,
				devices,
				rootPorts,
				iommufds,
				...(memory === undefined ? {} : { memorySize: parseSize("memory", memory) }),
				onReport: (message) => terminal.complain(message),
			});
			try {
				const streams = await open(endpoint, terminal.interrupted);
				if (streams) await serve(assembly.machine, streams, { clock: opened.kernel.clock }, terminal.interrupted);
				if (endpoint) streams?.output.end();
			} finally {
				assembly[Symbol.dispose]();
			}
		} finally {
			opened.close();
		}
		return terminal.interrupted.aborted ? 130 : 0;
	},
};

/** Where to speak; undefined for standard input and output. */
function endpointIn(parsed: ParsedArguments): QtestEndpoint | undefined {
	const socket = parsed.values.get("qtest")?.[0];
	if ((socket !== undefined) === parsed.values.has("stdio"))
		throw new UsageError("qtest speaks either at -qtest unix:PATH or on --stdio: give one of them");
	if (socket === undefined) return undefined;
	const option = parseSocketOption("qtest", socket);
	return option.type === "unix" ? option : undefined;
}

async function open(endpoint: QtestEndpoint | undefined, interrupted: AbortSignal): Promise<QtestStreams | undefined> {
	if (!endpoint) return { input: process.stdin, output: process.stdout };
	const socket = await openEndpoint(endpoint, interrupted);
	return socket && { input: socket, output: socket };
}
