import { KernelError, VfioError } from "../../core/errors.ts";
import { Mdev } from "../../core/host/mdev.ts";
import { Releases } from "../../core/release.ts";
import { defaultModels, type Namespace, serveNvme } from "../../kernel-sim/mod.ts";
import type { Command } from "../cli/command.ts";
import { type DeviceOption, parseDeviceOption } from "../cli/device-option.ts";
import { MACHINE_OPTIONS, machineOptions } from "../cli/machine-options.ts";
import { choice, integer, type ParsedArguments } from "../cli/options.ts";
import type { Terminal } from "../cli/terminal.ts";
import { UsageError } from "../cli/usage-error.ts";
import { diskChecksum, openDisk } from "../disk.ts";
import { runMainJob } from "../main-job.ts";
import { simulationReport } from "../simulation-report.ts";
import { HOST_OPTIONS, openHost } from "./host-options.ts";
import { MDEV_OPTION, mdevOptions } from "./mdev.ts";
import { Presenter, runAsData } from "./present-run.ts";
import { controlByQmp, QMP_OPTIONS, qmpOptions } from "./qmp-options.ts";
import { traceFilter } from "./trace-filter.ts";

/** The NVMe controller of the host that comes with the program. */
const DEFAULT_DEVICE = "0000:05:00.0";

/** `vfio-ts run`. */
export const run: Command = {
	name: "run",
	usage: "[-device vfio-pci,host=ADDRESS]... [OPTIONS]",
	summary: "assigns devices to the embedded guest and lets it use them",
	details: [
		"Gives each device's IOMMU group to vfio-pci, opens it, maps the guest's memory for its DMA and plugs it into the\nguest, which finds it, places its BARs, enables its interrupts and moves data. Afterwards everything is given back.",
		`Without -device it assigns vfio-pci,host=${DEFAULT_DEVICE} of the host that comes with vfio-ts.`,
		"With -qmp the machine runs until it is told to quit, and devices can be added below its root ports and removed:\nany QMP client can drive it, such as nc -U PATH. Dialect wire writes what QEMU writes; doc what StratoVirt's\ndocumentation has. device_add takes what -device takes, by the same names.",
	],
	options: [
		...MACHINE_OPTIONS,
		MDEV_OPTION,
		...HOST_OPTIONS,
		{ name: "interrupt", value: "msix|msi|intx", help: "the kind of interrupt that the guest uses (msix)" },
		{ name: "blocks", value: "N", help: "how many blocks of a disk the guest reads (256)" },
		{
			name: "disk",
			value: "FILE",
			help: "the simulated NVMe disk's content; the guest writes to it and puts back what was there",
		},
		{ name: "timeout", value: "SECONDS", help: "ends a guest that does not end (60; never, with -qmp)" },
		...QMP_OPTIONS,
		{
			name: "trace",
			value: "NAMES",
			help: "print these system calls, decoded: names or VFIO_* patterns, separated by commas; all for all",
		},
		{ name: "json", help: "print data instead of text" },
		{ name: "quiet", help: "print the last line only" },
	],
	examples: [
		"vfio-ts run",
		"vfio-ts run --interrupt intx --trace VFIO_DEVICE_SET_IRQS",
		"vfio-ts run -qmp unix:/tmp/q,server,nowait -device pcie-root-port,id=pcie.1",
		"vfio-ts run --host-file host.txt -device vfio-pci,host=0000:05:00.0",
		"sudo vfio-ts run --kernel linux -device vfio-pci,host=0000:05:00.0",
	],
	run: runCommand,
};

async function runCommand(parsed: ParsedArguments, terminal: Terminal): Promise<number> {
	const interrupts = choice(parsed, "interrupt", ["msix", "msi", "intx"], "msix");
	const blocks = integer(parsed, "blocks", 1, 100_000, 256);
	const trace = traceFilter(parsed.values.get("trace")?.[0]);
	const { devices: given, rootPorts, iommufds } = machineOptions(parsed);
	const qmp = qmpOptions(parsed);
	const data = parsed.values.has("json");
	if (data && qmp?.socket.type === "stdio")
		throw new UsageError("--json and -qmp stdio both want standard output: give one");
	const seconds = integer(parsed, "timeout", 1, 86_400, qmp ? Number.POSITIVE_INFINITY : 60);
	const disk = simulatedDisk(parsed);
	const models = defaultModels().register({ classCode: 0x010802 }, (description, name) =>
		serveNvme(description, name, { namespaces: [disk] }),
	);
	const wanted = mdevOptions(parsed);
	const opened = await openHost(parsed, terminal, { interrupts, namespaces: [disk] }, { models });
	// Standard output belongs to the client where that is who QMP is spoken to.
	const screen = qmp?.socket.type === "stdio" ? { ...terminal, print: terminal.complain } : terminal;
	const presenter = new Presenter(screen, { quiet: data || parsed.values.has("quiet"), trace: trace !== undefined });
	const mediated = new Releases();
	try {
		const devices = given.length > 0 || qmp ? given : [defaultDevice(parsed)];
		for (const one of wanted) mediated.use(Mdev.create(opened.kernel, one));
		// On a real device nobody knows what the blocks hold; there the guest compares what it reads in several ways.
		const expected = opened.linux ? ` checksum=${diskChecksum(disk, blocks)}` : "";
		presenter.start(opened, devices);
		if (qmp && rootPorts.length === 0)
			presenter.say("Without a root port device_add finds no place: -device pcie-root-port,id=ID makes one");
		const report = await runMainJob({
			kernel: opened.kernel,
			devices,
			rootPorts,
			iommufds,
			commandLine: `interrupt=${interrupts} blocks=${blocks}${expected}${qmp ? " hotplug=0" : ""}`,
			timeLimit: seconds * 1000,
			...(trace ? { trace } : {}),
			...(qmp ? controlByQmp(qmp, terminal.interrupted, (line) => presenter.say(line)) : {}),
			onEvent: (event) => presenter.event(event),
			interrupted: terminal.interrupted,
		});
		const simulation = opened.linux && simulationReport(opened.linux, report.devices);
		const clean = simulation === undefined || simulation.leaked.length === 0;
		if (data) terminal.print(JSON.stringify(runAsData(opened.description, report, simulation)));
		else presenter.summary(report, simulation);
		if (terminal.interrupted.aborted) return 130;
		return (report.passed || report.quit) && clean ? 0 : 1;
	} catch (error) {
		if (!(error instanceof VfioError || error instanceof KernelError) || !opened.linux) throw error;
		const { leaked } = simulationReport(opened.linux, []);
		if (leaked.length > 0) terminal.complain(`vfio-ts run: and this was not given back: ${leaked.join(", ")}`);
		throw error;
	} finally {
		try {
			mediated[Symbol.dispose]();
		} finally {
			opened.close();
		}
	}
}

/** Of any other host, nobody but its owner says what may be taken from its driver. @throws UsageError */
function defaultDevice(parsed: ParsedArguments): DeviceOption {
	const other = HOST_OPTIONS.filter(({ name }) => parsed.values.has(name) && parsed.values.get(name)?.[0] !== "sim");
	if (other.length > 0)
		throw new UsageError(
			`With ${other.map(({ name }) => `--${name}`).join(" and ")}, run needs a device: -device vfio-pci,host=ADDRESS; list shows what there is`,
		);
	return parseDeviceOption(`vfio-pci,host=${DEFAULT_DEVICE}`);
}

function simulatedDisk(parsed: ParsedArguments): Namespace {
	const path = parsed.values.get("disk")?.[0];
	try {
		return openDisk(path);
	} catch (cause) {
		throw new VfioError("invalid-argument", `Cannot open disk "${path}": ${(cause as Error).message}`, {
			cause,
			remedy: ["It must exist and be writable; truncate -s 64M disk.img makes an empty one."],
		});
	}
}
