import process from "node:process";
import { type QmpDialect, QmpMonitor } from "../../core/qmp/mod.ts";
import { choice, type OptionSpec, type ParsedArguments } from "../cli/options.ts";
import { parseSocketOption, type SocketOption } from "../cli/socket-option.ts";
import { UsageError } from "../cli/usage-error.ts";
import type { MainJob } from "../main-job.ts";
import { serveQmp } from "../qmp/server.ts";
import { readVersion } from "../version.ts";

/** The options that put a machine into the hands of QMP. */
export const QMP_OPTIONS: readonly OptionSpec[] = [
	{ name: "qmp", value: "SOCKET", help: "control the machine by QMP at unix:PATH,server[,nowait], unix:PATH or stdio" },
	{
		name: "qmp-dialect",
		value: "wire|doc",
		help: "how QMP is written: as QEMU does (wire), or as in the documentation",
	},
	{ name: "S", help: "do not start the guest: cont of QMP does" },
];

/** What they say. */
export interface QmpOptions {
	readonly socket: SocketOption;
	readonly dialect: QmpDialect;
	readonly paused: boolean;
}

/** Reads them. @returns undefined when there is no QMP @throws UsageError */
export function qmpOptions(parsed: ParsedArguments): QmpOptions | undefined {
	const dialect = choice(parsed, "qmp-dialect", ["wire", "doc"], "wire");
	const paused = parsed.values.has("S");
	const socket = parsed.values.get("qmp")?.[0];
	if (socket !== undefined) return { socket: parseSocketOption("qmp", socket), dialect, paused };
	if (paused) throw new UsageError("With -S nobody would start the guest: add -qmp, whose command cont does");
	return undefined;
}

/**
 * How the main job is controlled.
 *
 * @param interrupted ends the wait for a client
 * @param say tells a person where QMP is spoken
 */
export function controlByQmp(
	{ socket, dialect, paused }: QmpOptions,
	interrupted: AbortSignal,
	say: (line: string) => void,
): Pick<MainJob, "control" | "oneReference" | "paused"> {
	return {
		paused,
		oneReference: dialect === "doc",
		control: async (machine) => {
			const monitor = new QmpMonitor({ machine, dialect, version: versionFor(dialect), now: () => Date.now() * 1000 });
			const server = await serveQmp(monitor, socket, { input: process.stdin, output: process.stdout });
			const waits = socket.type === "unix" && socket.listen && socket.wait;
			if (socket.type === "unix")
				say(`QMP at ${socket.path}${waits ? ": the guest starts when a client has connected" : ""}`);
			if (waits) await Promise.race([server.connected, aborted(interrupted)]);
			return { tell: (event) => monitor.tell(event), close: () => server.close() };
		},
	};
}

/** Clients look at the version of QEMU: it is the one whose protocol is spoken. */
function versionFor(dialect: QmpDialect) {
	const version = readVersion();
	if (dialect === "doc") return { major: 5, minor: 0, micro: 1, package: `vfio-ts-${version}` };
	return { major: 10, minor: 0, micro: 2, package: `vfio-ts ${version}` };
}

function aborted(signal: AbortSignal): Promise<void> {
	return new Promise((resolve) => {
		if (signal.aborted) resolve();
		signal.addEventListener("abort", () => resolve(), { once: true });
	});
}
