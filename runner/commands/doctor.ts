import { formatPciAddress, parsePciAddress } from "../../core/host/address.ts";
import { examineHost, type Finding, type FindingLevel } from "../../core/host/doctor.ts";
import type { Command } from "../cli/command.ts";
import { parseDeviceOption } from "../cli/device-option.ts";
import type { ParsedArguments } from "../cli/options.ts";
import { parseSize } from "../cli/size.ts";
import { count } from "../cli/text.ts";
import { UsageError, understanding } from "../cli/usage-error.ts";
import { HOST_OPTIONS, openHost } from "./host-options.ts";

/** What `doctor --json` prints. */
export interface DoctorReport {
	readonly host: string;
	/** What the kernel calls itself. */
	readonly kernel: string;
	/** Bytes of guest memory that were reckoned with. */
	readonly memory: number;
	readonly findings: readonly Finding[];
	readonly counts: Readonly<Record<FindingLevel, number>>;
}

/** `vfio-ts doctor`. */
export const doctor: Command = {
	name: "doctor",
	usage: "[-device ADDRESS]... [OPTIONS]",
	summary: "says what a host lacks for assigning devices, and what to do about it",
	details: [
		"Looks at the IOMMU, interrupt remapping, VFIO, permissions and locked memory; then, of each device, at its IOMMU\ngroup, driver, reset and BARs. Without -device, all that may be assigned.",
		"Nothing is changed. It exits with 1 when there is a problem. What keeps a device from being assigned is a problem\nwhen -device names the device, and a warning or a mere fact when nobody asked for it.",
	],
	options: [
		...HOST_OPTIONS,
		{
			name: "device",
			value: "SPEC",
			repeatable: true,
			help: "a device that is to be assigned: ADDRESS, or vfio-pci,host=ADDRESS",
		},
		{ name: "memory", value: "SIZE", help: "how much memory the guest will have, such as 4G; 16M when left out" },
		{ name: "json", help: "print data instead of text" },
	],
	examples: [
		"vfio-ts doctor --kernel linux",
		"vfio-ts doctor --kernel linux -device 0000:05:00.0 --memory 4G",
		"vfio-ts doctor --host-file host.txt --json",
	],
	async run(parsed, terminal) {
		const devices = understanding(() => parsed.values.get("device")?.map(addressIn));
		const memory = memoryIn(parsed);
		const opened = await openHost(parsed, terminal);
		try {
			const { kernel, description } = opened;
			const findings = examineHost(kernel, { memory: BigInt(memory), ...(devices ? { devices } : {}) });
			const counts = countLevels(findings);
			if (parsed.values.has("json")) {
				const report: DoctorReport = { host: description, kernel: kernel.name, memory, findings, counts };
				terminal.print(JSON.stringify(report));
			} else terminal.print([`On ${description} (${kernel.name}):`, ...describe(findings), summary(counts)].join("\n"));
			return counts.problem > 0 ? 1 : 0;
		} finally {
			opened.close();
		}
	},
};

/** A bare address, or the same text that other commands take for `-device`. */
function addressIn(text: string): string {
	if (!/^[^:]*,|^vfio/.test(text)) return formatPciAddress(parsePciAddress(text));
	const { kind, reference } = parseDeviceOption(text);
	if (kind === "vfio-pci" && "host" in reference) return reference.host;
	throw new UsageError(`doctor looks at PCI functions by their address: -device vfio-pci,host=ADDRESS, not ${text}`);
}

const DEFAULT_MEMORY = 2 ** 24;

function memoryIn(parsed: ParsedArguments): number {
	const text = parsed.values.get("memory")?.[0];
	return text === undefined ? DEFAULT_MEMORY : parseSize("memory", text);
}

function countLevels(findings: readonly Finding[]): Record<FindingLevel, number> {
	const counts = { ok: 0, warning: 0, problem: 0, unknown: 0 };
	for (const { level } of findings) counts[level]++;
	return counts;
}

/** A line for each finding, its remedy below; a heading before each device. */
function describe(findings: readonly Finding[]): string[] {
	const width = Math.max(...findings.map(({ item }) => item.length));
	const lines: string[] = [];
	let device: string | undefined;
	for (const finding of findings) {
		if (finding.device !== device) lines.push(`${finding.device}:`);
		device = finding.device;
		lines.push(`  ${finding.level.padEnd(7)}  ${finding.item.padEnd(width)}  ${finding.text}`);
		for (const step of finding.remedy) lines.push(`             ${step}`);
	}
	return lines;
}

function summary({ problem, warning, unknown }: Readonly<Record<FindingLevel, number>>): string {
	if (problem + warning + unknown === 0) return "Nothing to do.";
	return `${count(problem, "problem")}, ${count(warning, "warning")}, ${unknown} unknown.`;
}
