/**
 * `npm run bench [-- --quick] [--json]`: how fast the simulation and the core are, on this machine, in one run. The ratio
 * is against the first line, so that runs on different machines can be compared.
 */
import process from "node:process";
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Host, MemoryNamespace, patternContent, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { table } from "../../runner/cli/text.ts";
import { attach, driverStarts } from "../attach/scripted-guest.ts";
import { hotPlugBench } from "./hot-plug.ts";
import { type Measurement, measure } from "./measure.ts";
import { NvmeReader } from "./nvme-reader.ts";

const EDU = "0000:01:00.0";
const NVME = "0000:05:00.0";
const EDU_LIVENESS = 0x04;
const EDU_RAISE = 0x60;
const EDU_ACKNOWLEDGE = 0x64;

const quick = process.argv.includes("--quick");
let sink = 0;

function functionBenches(): Measurement[] {
	const clock = new VirtualClock();
	const host = Host.reference();
	const linux = new SimulatedLinux({ host, clock });
	const attached = attach(linux.process(), EDU);
	const { fn, messages, memory } = attached;
	driverStarts(fn);
	const edu = host.machine.function(EDU);
	if (!edu) throw new Error("the reference host has lost its edu");
	const page = new Uint8Array(4096);
	const results = [
		measure(
			"config read, emulated (BAR 0)",
			(times) => {
				for (let i = 0; i < times; i++) sink ^= fn.configRead(0x10, 4);
			},
			{ quick },
		),
		measure(
			"config read, passed through to the simulated kernel (ids)",
			(times) => {
				for (let i = 0; i < times; i++) sink ^= fn.configRead(0, 4);
			},
			{ quick },
		),
		measure(
			"BAR register write and read (edu's liveness check)",
			(times) => {
				for (let i = 0; i < times; i++) {
					fn.barWrite(0, EDU_LIVENESS, 4, i);
					sink ^= fn.barRead(0, EDU_LIVENESS, 4);
				}
			},
			{ quick },
		),
		measure(
			"interrupt, from the model's register to the guest's message",
			(times) => {
				messages.length = 0;
				for (let i = 0; i < times; i++) {
					fn.barWrite(0, EDU_RAISE, 4, 1);
					fn.barWrite(0, EDU_ACKNOWLEDGE, 4, 1);
					clock.settle();
				}
				if (messages.length !== times) throw new Error(`${times} interrupts were raised, ${messages.length} arrived`);
			},
			{ quick },
		),
		measure(
			"DMA through the IOMMU, a page read",
			(times) => {
				for (let i = 0; i < times; i++) host.machine.iommu.read(edu, BigInt((i * 4096) % memory.length), page);
			},
			{ quick, bytes: page.length },
		),
		measure(
			"DMA through the IOMMU, a page written",
			(times) => {
				for (let i = 0; i < times; i++) host.machine.iommu.write(edu, BigInt((i * 4096) % memory.length), page);
			},
			{ quick, bytes: page.length },
		),
	];
	if (linux.faults.length > 0) throw new Error("a DMA of the benchmark faulted");
	attached[Symbol.dispose]();
	return results;
}

function nvmeBench(): Measurement {
	const disk = new MemoryNamespace(1 << 26, { content: patternContent });
	const kernel = new SimulatedLinux({ host: Host.reference({ namespaces: [disk] }) }).process();
	const group = bindGroup(kernel, NVME);
	const device = VfioDevice.open(kernel, NVME, { addressSpace: new IoAddressSpace(kernel) });
	const reader = new NvmeReader(kernel, device);
	const result = measure(
		"NVMe, 4 KiB read by a user-space driver",
		(times) => {
			for (let i = 0; i < times; i++) {
				const block = (i * 8) % 65536;
				if (reader.read(block) !== BigInt(block * 512)) throw new Error(`block ${block} is not what it should be`);
			}
		},
		{ quick, bytes: 4096 },
	);
	reader[Symbol.dispose]();
	device[Symbol.dispose]();
	group[Symbol.dispose]();
	return result;
}

const hotPlug = hotPlugBench();
const results = [...functionBenches(), nvmeBench(), hotPlug];
if (process.argv.includes("--json")) console.log(JSON.stringify(results));
else {
	const base = results[0]?.ns ?? 1;
	const rows = results.map(({ name, ns, spread, bytes }) => [
		name,
		ns.toFixed(ns < 100 ? 1 : 0).padStart(8),
		(ns / base).toFixed(1).padStart(7),
		Math.round(1e9 / ns)
			.toLocaleString("en")
			.padStart(12),
		bytes === undefined ? "" : `${Math.round((bytes * 1e3) / ns)} MB/s`.padStart(11),
		`±${Math.round(spread * 50)} %`.padStart(6),
	]);
	console.log(table([["operation", "      ns", "  ratio", "  each second", "", "spread"], ...rows]));
	console.log(
		`\nA hot plug after 1,000 others takes ${hotPlug.growth.toFixed(2)} times as long as one of the first; nothing is left.`,
	);
}
// Nothing the loops computed may look unused to the compiler.
if (sink === 0.5) console.log(sink);
