/**
 * The main job on real VFIO: the embedded guest drives QEMU's NVMe and edu with each kind of interrupt they have, through
 * their groups and, where the kernel has iommufd, by their character devices; afterwards nothing is left of it. Options after the job's name make it one run of `vfio-ts run` with these.
 */
import { existsSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { PciSysfs } from "../../../core/host/sysfs.ts";
import { LinuxKernel } from "../../../kernel-linux/mod.ts";
import { main } from "../../../runner/cli/main.ts";
import type { Terminal } from "../../../runner/cli/terminal.ts";
import { checksum } from "../../../runner/disk.ts";
import type { RunReport } from "../../../runner/run-report.ts";
import { labDiskContent } from "../lab-disk.ts";
import { openedAgain } from "./opened-again.ts";
import { notGivenBack, processState } from "./process-state.ts";
import { Tally } from "./tally.ts";

const NVME = "0000:06:00.0";
const EDU = "0000:01:00.0";
const BLOCKS = 256;
const BLOCK_SIZE = 512;

interface Case {
	readonly address: string;
	readonly interrupt: "msix" | "msi" | "intx";
	/** DMA is mapped by iommufd. */
	readonly iommufd?: boolean;
	/** What the guest must have found, by the name it gives it. */
	readonly results: Readonly<Record<string, string>>;
}

const blocks = {
	"nvme0.read.blocks": String(BLOCKS),
	"nvme0.read.checksum": checksum(labDiskContent(BLOCKS * BLOCK_SIZE))
		.toString(16)
		.padStart(8, "0"),
};
const CASES: readonly Case[] = [
	{ address: NVME, interrupt: "msix", results: blocks },
	{ address: NVME, interrupt: "intx", results: blocks },
	{ address: EDU, interrupt: "msi", results: { "edu0.dma.bytes": "4096" } },
	{ address: EDU, interrupt: "intx", results: { "edu0.dma.bytes": "4096" } },
	{ address: NVME, interrupt: "msix", iommufd: true, results: blocks },
	{ address: EDU, interrupt: "msi", iommufd: true, results: { "edu0.dma.bytes": "4096" } },
];

const kernel = new LinuxKernel();
const pci = new PciSysfs(kernel);

/** Runs the command in this process, so that what it leaves behind can be seen here. */
async function command(words: readonly string[]): Promise<{ code: number; printed: string }> {
	const lines: string[] = [];
	const terminal: Terminal = {
		print: (line) => lines.push(line),
		complain: (line) => console.error(line),
		interrupted: new AbortController().signal,
		readFile: () => "",
	};
	const code = await main(["run", "--kernel", "linux", ...words], terminal, "lab");
	return { code, printed: lines.join("\n") };
}

async function check({ address, interrupt, iommufd, results }: Case): Promise<{ problems: string[]; details: string }> {
	const driver = pci.driver(address);
	const before = processState();
	const device = iommufd
		? ["-object", "iommufd,id=iommufd0", "-device", `vfio-pci,host=${address},iommufd=iommufd0`]
		: ["-device", `vfio-pci,host=${address}`];
	const words = [...device, "--interrupt", interrupt, "--blocks", String(BLOCKS), "--json"];
	const { code, printed } = await command(words);
	const problems = notGivenBack(before, processState()).map((what) => `not given back: ${what}`);
	if (code !== 0) problems.push(`vfio-ts run ended with ${code}`);
	if (!printed.startsWith("{")) return { problems, details: "" };
	const report: RunReport = JSON.parse(printed);
	if (!report.passed) problems.push(`the guest: ${report.outcome.reason}`, ...report.console);
	for (const [name, value] of Object.entries(results))
		if (report.results[name] !== value) problems.push(`${name} is ${report.results[name]} instead of ${value}`);
	const assigned = report.devices[0];
	const interrupts = assigned?.interrupts.reduce((sum, count) => sum + count, 0) ?? 0;
	if (assigned?.interruptMode !== interrupt) problems.push(`it interrupted by ${assigned?.interruptMode}`);
	const way = report.calls["VFIO_DEVICE_BIND_IOMMUFD"] === undefined ? "its group" : "iommufd";
	if (way !== (iommufd ? "iommufd" : "its group")) problems.push(`it was opened by ${way}`);
	if (pci.driver(address) !== driver)
		problems.push(`its driver was ${driver ?? "none"}, and now is ${pci.driver(address) ?? "none"}`);
	problems.push(...openedAgain(kernel, address));
	const time = (report.milliseconds / 1000).toFixed(1);
	const back = driver === undefined ? "back without a driver" : `back with ${driver}`;
	return { problems, details: `${interrupts} interrupts, ${JSON.stringify(results)}, ${back}, ${time} s` };
}

/** nvme binds from a thread of its own. */
async function driverIsThere(address: string, name: string): Promise<void> {
	for (let wait = 0; pci.driver(address) !== name && wait < 10_000; wait += 100) await delay(100);
}

const words = process.argv.slice(2);
if (words.length > 0) {
	const { code, printed } = await command(words);
	console.log(printed);
	process.exitCode = code;
} else {
	await driverIsThere(NVME, "nvme");
	const tally = new Tally();
	for (const one of CASES) {
		const name = `${one.address} by ${one.interrupt}${one.iommufd ? " with iommufd" : ""}`;
		if (one.iommufd && !existsSync("/dev/iommu")) {
			console.log(`skip  ${name}: this kernel has no /dev/iommu`);
			continue;
		}
		const { problems, details } = await check(one);
		tally.add(name, problems, details);
	}
	process.exitCode = tally.finish();
}
