/**
 * The judge: a real QEMU and our machine get the same device of the same host, one after the other; the same scripts drive
 * both, and every answer is compared. At the end, the kernel calls of both.
 *
 * `main.ts [ADDRESS...]`: only those devices.
 */
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import process from "node:process";
import { bindGroup } from "../../../core/host/bind.ts";
import { LinuxKernel } from "../../../kernel-linux/mod.ts";
import { compareCalls } from "./calls.ts";
import { compare, type Difference } from "./compare.ts";
import { type Circumstances, intended } from "./differences.ts";
import { Guest, type Placement } from "./guest.ts";
import { type Machine, startOurs, startQemu } from "./machines.ts";
import { SCRIPTS } from "./scripts.ts";

const DEVICES = [
	...["01", "02", "03", "04", "05", "06", "07", "08", "09", "0a", "0b", "0c", "0d"].map((bus) => `0000:${bus}:00.0`),
	...["0000:0f:01.0", "0000:0f:02.0", "0000:00:10.0", "0000:00:11.0", "0000:00:12.0"],
];
const PLACEMENTS: readonly Placement[] = ["on the root bus", "below a root port"];
/** Whose kernel calls are counted. */
const COUNTED = ["0000:01:00.0", "0000:03:00.0", "0000:06:00.0", "0000:09:00.0"];
/** How many differences of one device are printed. */
const SHOWN = 60;

const kernel = new LinuxKernel();

/**
 * Puts configuration space back as it was: a reset of the device does not touch registers that no specification knows, and
 * one machine must not find what the other one left.
 */
function restore(address: string, config: Uint8Array): void {
	const file = openSync(`/sys/bus/pci/devices/${address}/config`, "r+");
	try {
		const now = new Uint8Array(config.length);
		readSync(file, now, 0, now.length, 0);
		for (let at = 0x40; at < config.length; at++) if (now[at] !== config[at]) writeSync(file, config, at, 1, at);
	} finally {
		closeSync(file);
	}
}

/** Everything a machine says to the scripts. */
async function interview(machine: Machine, placement: Placement): Promise<Guest> {
	const guest = new Guest(machine.client, placement);
	try {
		await guest.prepare();
		for (const [name, script] of Object.entries(SCRIPTS)) {
			guest.script = name;
			await script(guest);
		}
	} catch (error) {
		guest.note("(the conversation ends)", (error as Error).message);
	} finally {
		await machine.stop();
	}
	return guest;
}

/** The same difference, seen often: one line. */
function summary(differences: readonly Difference[]): string[] {
	const seen = new Map<string, { count: number; first: Difference }>();
	for (const difference of differences) {
		const { script, register, line } = difference;
		const what = register === undefined ? line : `config 0x${register.toString(16)}`;
		const key = `${script}: ${what}`;
		const entry = seen.get(key);
		if (entry) entry.count++;
		else seen.set(key, { count: 1, first: difference });
	}
	return [...seen].map(([key, { count, first }]) => {
		const cut = (text: string) => (text.length > 120 ? `${text.slice(0, 120)}…` : text);
		return `${key}: QEMU ${cut(first.qemu)}, ours ${cut(first.ours)}${count > 1 ? ` (${count} times)` : ""} [${cut(first.line)}]`;
	});
}

const wanted = process.argv.slice(2);
const devices = wanted.length > 0 ? wanted : DEVICES;
const results: object[] = [];
let unexplained = 0;
let compared = 0;
const groups = devices.map((address) => bindGroup(kernel, address));
try {
	for (const address of devices) {
		const config = readFileSync(`/sys/bus/pci/devices/${address}/config`);
		for (const placement of PLACEMENTS) {
			const circumstances: Circumstances = { address, placement, config };
			const started = Date.now();
			const qemu = await interview(await startQemu(address, placement), placement);
			restore(address, config);
			const between = Date.now();
			const machine = await startOurs(kernel, address, placement);
			const ours = await interview(machine, placement);
			restore(address, config);
			const all = compare(qemu.exchanges, ours.exchanges);
			const wrong = all.filter((difference) => !intended(difference, circumstances));
			const seconds = (from: number, to: number) => `${((to - from) / 1000).toFixed(1)} s`;
			compared += qemu.exchanges.length;
			unexplained += wrong.length + qemu.missed.length;
			console.log(
				`${wrong.length + qemu.missed.length === 0 ? "ok  " : "FAIL"} ${address} ${placement}: ${qemu.exchanges.length} answers, ${all.length - wrong.length} differ as they should, ${wrong.length} should not; QEMU ${seconds(started, between)}, ours ${seconds(between, Date.now())}`,
			);
			for (const line of summary(wrong).slice(0, SHOWN)) console.log(`     ${line}`);
			for (const what of qemu.missed) console.log(`     QEMU itself has not seen ${what}`);
			const names: Record<string, number> = {};
			for (const difference of all) {
				const name = intended(difference, circumstances)?.name ?? "unexplained";
				names[name] = (names[name] ?? 0) + 1;
			}
			results.push({
				...{ address, placement, answers: qemu.exchanges.length },
				...{ differences: names, unexplained: summary(wrong), reports: [...new Set(machine.reports)] },
			});
		}
	}
	const calls = await compareCalls(
		kernel,
		COUNTED.filter((address) => devices.includes(address)),
	);
	console.log(calls.text);
	writeFileSync(
		"/job/output.json",
		JSON.stringify(
			{ kernel: kernel.name, devices: results, compared, unexplained, calls: calls.data },
			undefined,
			"\t",
		),
	);
	console.log(
		`${results.length} comparisons of ${devices.length} devices with ${Object.keys(SCRIPTS).length} scripts, ${compared} answers: ${unexplained} unexplained differences; ${calls.problems.length} problems with kernel calls`,
	);
	for (const problem of calls.problems) console.log(`     ${problem}`);
	process.exitCode = unexplained === 0 && calls.problems.length === 0 ? 0 : 1;
} finally {
	for (const group of groups.reverse()) group[Symbol.dispose]();
}
