import { setTimeout as delay } from "node:timers/promises";
import type { Kernel } from "../../../core/kernel.ts";
import { PCI_CAP_ID_MSIX } from "../../../core/uapi/pci_regs.ts";
import type { QtestClient } from "./client.ts";
import { Guest, hex } from "./guest.ts";
import { startOurs, startQemu } from "./machines.ts";
import { strace } from "./strace.ts";
import { type Counts, countCalls, SeamTrace, StraceTrace, type Trace } from "./trace.ts";

/** What is counted, in this order. */
const STAGES = [
	"start",
	"start with reset",
	"1 vector",
	"8 vectors",
	"all vectors",
	"all vectors, as Linux does",
	"memory added",
	"memory removed",
] as const;

type Stage = (typeof STAGES)[number];
type Stages = Partial<Record<Stage, Counts>>;

/** A shared-memory device whose BAR is RAM: placing it adds memory to QEMU's machine. */
const SHARED_MEMORY = [
	"-object",
	"memory-backend-ram,id=m,size=1M,share=on",
	"-device",
	"ivshmem-plain,memdev=m,addr=6",
];
const ADDED = { address: 0x20_0000_0000, size: 1 << 20 };

/** What {@link compareCalls} found. */
export interface CallComparison {
	readonly text: string;
	readonly data: Readonly<Record<string, { readonly qemu: Stages; readonly ours: Stages }>>;
	/** Where we need more calls than we should. */
	readonly problems: readonly string[];
}

/** Counts the kernel calls that both make on the same devices. */
export async function compareCalls(kernel: Kernel, devices: readonly string[]): Promise<CallComparison> {
	const data: Record<string, { qemu: Stages; ours: Stages }> = {};
	const problems: string[] = [];
	for (const address of devices) {
		const qemu = await countQemu(address);
		const msix = new Map<Stage, number>();
		const ours = await countOurs(kernel, address, msix);
		data[address] = { qemu, ours };
		if (total(ours.start) >= total(qemu.start))
			problems.push(`${address} takes ${total(ours.start)} calls to start, QEMU ${total(qemu.start)}`);
		for (const [stage, calls] of msix)
			if (calls > 2) problems.push(`${address} takes ${calls} SET_IRQS of MSI-X for ${stage}`);
	}
	return { text: table(data), data, problems };
}

async function countQemu(address: string): Promise<Stages> {
	const trace = new StraceTrace(`/tmp/strace-${address}`);
	const machine = await startQemu(address, "on the root bus", {
		wrapper: strace()(trace.arguments),
		extra: SHARED_MEMORY,
	});
	try {
		const ready = await settled(trace);
		const reset = ready.findIndex((name) => /_RESET$/.test(name));
		const stages: Stages = { start: countCalls(reset < 0 ? ready : ready.slice(0, reset)) };
		stages["start with reset"] = countCalls(ready);
		await countVectors(machine.client, trace, stages);
		const config = (register: number, value: number) => [
			`outl 0xcf8 ${hex(0x8000_3000 + register)}`,
			`outl 0xcfc ${hex(value)}`,
		];
		await machine.client.say([...config(0x18, 0), ...config(0x1c, ADDED.address / 2 ** 32), ...config(4, 2)]);
		stages["memory added"] = countCalls(await settled(trace));
		await machine.client.say(config(4, 0));
		stages["memory removed"] = countCalls(await settled(trace));
		return stages;
	} finally {
		await machine.stop();
		trace[Symbol.dispose]();
	}
}

/** @param msix gets how many SET_IRQS were about MSI-X */
async function countOurs(kernel: Kernel, address: string, msix: Map<Stage, number>): Promise<Stages> {
	const trace = new SeamTrace(kernel);
	const machine = await startOurs(trace.kernel, address, "on the root bus");
	try {
		const started = trace.take();
		const stages: Stages = { start: countCalls(started) };
		machine.assembly.machine.reset();
		stages["start with reset"] = countCalls([...started, ...trace.take()]);
		await countVectors(machine.client, trace, stages, (stage) => msix.set(stage, trace.msixCalls));
		const bank = machine.assembly.machine.addMemory(ADDED.address, ADDED.size);
		stages["memory added"] = countCalls(trace.take());
		bank[Symbol.dispose]();
		stages["memory removed"] = countCalls(trace.take());
		return stages;
	} finally {
		await machine.stop();
	}
}

/** Enables MSI-X: vectors that are unmasked before, and, as Linux does it, with the function masked meanwhile. */
async function countVectors(
	client: QtestClient,
	trace: Trace,
	stages: Stages,
	enabled: (stage: Stage) => void = () => {},
): Promise<void> {
	const guest = new Guest(client, "on the root bus");
	await guest.prepare();
	const at = await guest.capability(PCI_CAP_ID_MSIX);
	if (at === 0) return;
	const bars = await guest.sizeBars();
	await guest.placeBars(bars);
	const where = await guest.readRegister(at + 4);
	const table = (bars.find(({ index }) => index === (where & 7))?.address ?? 0) + (where & ~7);
	const vectors = ((await guest.readRegister(at + 2, 2)) & 0x7ff) + 1;
	const mask = (count: number, on: boolean) =>
		guest.whisper(...Array.from({ length: count }, (_, n) => `writel ${hex(table + 16 * n + 12)} ${on ? 1 : 0}`));
	const set = (value: number) => guest.whisper(...guest.write(at + 2, 2, value));
	const counted: [Stage, number, boolean][] = [
		["1 vector", 1, false],
		["8 vectors", 8, false],
		["all vectors", vectors, false],
		["all vectors, as Linux does", vectors, true],
	];
	for (const [stage, count, masked] of counted) {
		if (count > vectors) continue;
		if (!masked) await mask(count, false);
		await settled(trace);
		if (masked) {
			await set(0xc000);
			await mask(count, false);
		}
		await set(0x8000);
		enabled(stage);
		stages[stage] = countCalls(await settled(trace));
		await set(0);
		await mask(count, true);
	}
	await guest.whisper(...guest.write(4, 2, 0));
	await settled(trace);
}

/** What was called until nothing has been called for a while: strace writes its lines later. */
async function settled(trace: Trace): Promise<string[]> {
	const calls = trace.take();
	for (;;) {
		await delay(trace instanceof SeamTrace ? 0 : 150);
		const more = trace.take();
		if (more.length === 0) return calls;
		calls.push(...more);
	}
}

function total(counts: Counts | undefined): number {
	return Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0);
}

function table(data: CallComparison["data"]): string {
	const lines: string[] = [];
	for (const [address, { qemu, ours }] of Object.entries(data)) {
		lines.push("", `${`Kernel calls of ${address}`.padEnd(50)}QEMU  ours`);
		for (const stage of STAGES) {
			const [theirs, own] = [qemu[stage], ours[stage]];
			if (!theirs || !own) continue;
			const row = (name: string, a: number, b: number) =>
				name.padEnd(50) + String(a).padStart(4) + String(b).padStart(6);
			lines.push(row(stage, total(theirs), total(own)));
			for (const name of [...new Set([...Object.keys(theirs), ...Object.keys(own)])].sort())
				lines.push(row(`    ${name}`, theirs[name] ?? 0, own[name] ?? 0));
		}
	}
	return [
		"",
		"Calls on VFIO's files. `start` ends with the first reset; with vectors, the first SET_IRQS of both switches INTx off.",
		...lines,
	].join("\n");
}
