import { readFileSync } from "node:fs";
import { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { Host, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { parseDeviceOption } from "../../runner/cli/device-option.ts";
import { parseRootPortOption } from "../../runner/cli/root-port-option.ts";
import { HostClock } from "../../runner/host-clock.ts";
import { assemble, QtestSession } from "../../runner/qtest/mod.ts";
import { QtestClient } from "../lab/judge/client.ts";
import { compare } from "../lab/judge/compare.ts";
import { type Circumstances, INTENDED, intended } from "../lab/judge/differences.ts";
import { type Exchange, Guest, type Placement, PORT_SLOT, ROOT_SLOT } from "../lab/judge/guest.ts";
import { SCRIPTS } from "../lab/judge/scripts.ts";

/** What the judge's scripts hear from our machine on a simulated host. */
async function interview(address: string, placement: Placement, wanted: readonly string[]): Promise<Exchange[]> {
	const clock = new HostClock();
	const kernel = new SimulatedLinux({ host: Host.reference(), clock }).process();
	const below = placement === "below a root port";
	const assembly = assemble({
		kernel,
		devices: [parseDeviceOption(`vfio-pci,host=${address},${below ? "bus=rp1" : `addr=${ROOT_SLOT}`}`)],
		rootPorts: below ? [parseRootPortOption(`pcie-root-port,id=rp1,addr=${PORT_SLOT}`)] : [],
		memorySize: 16 << 20,
	});
	const socket: Duplex = new Duplex({
		read: () => {},
		write: (chunk, _encoding, done) => void session.receive(String(chunk)).then(() => done(), done),
	});
	const session = new QtestSession(assembly.machine, { send: (line) => void socket.push(`${line}\n`), clock });
	const guest = new Guest(new QtestClient(socket), placement);
	try {
		await guest.prepare();
		for (const name of wanted) {
			guest.script = name;
			await SCRIPTS[name]?.(guest);
		}
	} finally {
		assembly[Symbol.dispose]();
		clock.stop();
	}
	return guest.exchanges;
}

const exchange = (line: string, answer: string, register?: number): Exchange => ({
	script: "s",
	line,
	answer,
	register,
});

describe("the judge's scripts", () => {
	it.each<[string, Placement]>([
		["0000:01:00.0", "on the root bus"],
		["0000:05:00.0", "below a root port"],
	])("hear the same from %s %s when they ask twice", async (address, placement) => {
		const names = Object.keys(SCRIPTS);
		const first = await interview(address, placement, names);
		expect(first.length).toBeGreaterThan(1500);
		expect(compare(first, await interview(address, placement, names))).toEqual([]);
		// They reach the device: its registers answer, and it has interrupted.
		const answers = new Set(first.map(({ answer }) => answer));
		expect(answers.size).toBeGreaterThan(100);
		if (address === "0000:01:00.0") {
			expect(first.find(({ line }) => line === "the MSI in RAM")?.answer).toBe("0x4321");
			expect(first.filter(({ answer }) => answer.includes("IRQ raise 21")).length).toBeGreaterThan(0);
		}
	});
});

describe("compare()", () => {
	it("finds the register that a read of all of configuration space differs in", () => {
		const line = "read 0xb0028000 0x8";
		const [difference, ...more] = compare(
			[exchange(line, "OK 0x3412e81100000000")],
			[exchange(line, "OK 0x3412e81104000000")],
		);
		expect(difference).toMatchObject({ register: 4, qemu: "0x00000000", ours: "0x00000004" });
		expect(more).toEqual([]);
	});

	it("ends where the scripts went different ways", () => {
		const differences = compare([exchange("inb 1", "OK"), exchange("inb 2", "a")], [exchange("inb 2", "b")]);
		expect(differences).toHaveLength(1);
		expect(differences[0]?.line).toBe("(the script went another way)");
	});
});

describe("intended differences", () => {
	const config = new Uint8Array(4096);
	new DataView(config.buffer).setUint32(0x100, 0x1401_0001, true);
	new DataView(config.buffer).setUint32(0x140, 0x0001_0010, true);
	const circumstances: Circumstances = { address: "0000:04:00.0", placement: "on the root bus", config };
	const name = (line: string, register: number | undefined, qemu: string, ours: string) =>
		intended({ script: "msix", line, register, qemu, ours }, circumstances)?.name;

	it("are explained in differences.md, one by one", () => {
		const text = readFileSync(new URL("../lab/judge/differences.md", import.meta.url), "utf8");
		expect([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual(
			INTENDED.map((entry) => entry.name),
		);
	});

	it("cover what a hidden capability reads, and nothing beside it", () => {
		expect(name("read 0xb0028000 0x1000", 0x144, "0x00000010", "0x00000000")).toBe(INTENDED[0]?.name);
		expect(name("read 0xb0028000 0x1000", 0x144, "0x00000010", "0x00000020")).toBeUndefined();
		expect(name("read 0xb0028000 0x1000", 0x180, "0x00000010", "0x00000000")).toBeUndefined();
	});

	it("cover narrow reads of the MSI-X table, and no others", () => {
		config[0x34] = 0x40;
		config[0x40] = 0x11;
		const read = (line: string) => name(line, undefined, "OK 0x0000000000000000", "OK 0x000000000000ffff");
		expect(read("readw 0xd0002002")).toBe(INTENDED[2]?.name);
		expect(read("readl 0xd0002002")).toBe(INTENDED[2]?.name);
		expect(read("readl 0xd0002004")).toBeUndefined();
		expect(read("readq 0xd0002000")).toBeUndefined();
	});

	it("cover the address register only where its reserved bits differ", () => {
		expect(name("inl 0xcf8", undefined, "OK 0xffffffff", "OK 0x80fffffc")).toBe(INTENDED[1]?.name);
		expect(name("inl 0xcf8", undefined, "OK 0xffffffff", "OK 0x80fffff8")).toBeUndefined();
	});
});
