import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Host, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { parseDeviceOption } from "../../../runner/cli/device-option.ts";
import { parseRootPortOption } from "../../../runner/cli/root-port-option.ts";
import { type Assembly, assemble, QtestSession } from "../../../runner/qtest/mod.ts";

/** The simulated edu: ID register, interrupt raise and acknowledge (QEMU's docs/specs/edu.rst). */
const EDU = "0000:01:00.0";
const BAR = 0xfe00_0000;

let linux: SimulatedLinux;
let assembly: Assembly;
let session: QtestSession;
let said: string[];

function start(devices: readonly string[], ports: readonly string[] = []): void {
	linux = new SimulatedLinux({ host: Host.reference() });
	const kernel = linux.process();
	assembly = assemble({
		kernel,
		devices: devices.map(parseDeviceOption),
		rootPorts: ports.map(parseRootPortOption),
		memorySize: 4 << 20,
	});
	said = [];
	session = new QtestSession(assembly.machine, {
		send: (line) => said.push(line),
		clock: kernel.clock,
		advance: (nanoseconds) => linux.clock.advance(nanoseconds),
	});
}

/** Says lines, and gives what was answered. */
async function say(...lines: string[]): Promise<string[]> {
	said.length = 0;
	await session.receive(lines.map((line) => `${line}\n`).join(""));
	return [...said];
}

const config = (register: number, device = 5, bus = 0) =>
	`outl 0xcf8 0x${(0x8000_0000 + bus * 0x10000 + device * 0x800 + register).toString(16)}`;

/** Places BAR 0 of device 5 and switches memory and bus mastering on. */
async function placeBar(): Promise<void> {
	await say(config(0x10), `outl 0xcfc 0x${BAR.toString(16)}`, config(4), "outw 0xcfc 0x6");
}

beforeEach(() => start([`vfio-pci,host=${EDU},addr=5`]));
afterEach(() => {
	assembly[Symbol.dispose]();
	expect(linux.leaks().openFiles).toBe(0);
	expect(linux.leaks().dmaMappings).toBe(0);
});

describe("the qtest machine", () => {
	it("shows configuration space at 0xcfc, and all ones where nothing is", async () => {
		expect(await say(config(0), "inl 0xcfc", "inw 0xcfe", config(0, 6), "inl 0xcfc")).toEqual([
			"OK",
			"OK 0x11e81234",
			"OK 0x11e8",
			"OK",
			"OK 0xffffffff",
		]);
	});

	it("shows configuration space in memory once PCIEXBAR is enabled, and takes it away with it", async () => {
		const address = "0xb0028000";
		expect(await say(`readl ${address}`)).toEqual(["OK 0x0000000000000000"]);
		await say(config(0x60, 0), "outl 0xcfc 0xb0000001");
		expect(await say(`readl ${address}`, `readb ${address}`, `read ${address} 4`)).toEqual([
			"OK 0x0000000011e81234",
			"OK 0x0000000000000034",
			"OK 0x3412e811",
		]);
		// An access that is not aligned is several that are.
		expect(await say("readl 0xb0028001", "readq 0xb0030000")).toEqual([
			"OK 0x000000000011e812",
			"OK 0xffffffffffffffff",
		]);
		await say(config(0x60, 0), "outl 0xcfc 0xb0000005");
		expect(await say("readl 0xb8000000", `readl ${address}`)).toEqual([
			"OK 0x0000000000000000",
			"OK 0x0000000011e81234",
		]);
		await say(config(0x60, 0), "outl 0xcfc 0xb0000000");
		expect(await say(`readl ${address}`)).toEqual(["OK 0x0000000000000000"]);
	});

	it("has RAM that reads back, with a hole where a graphics card is", async () => {
		expect(
			await say(
				"write 0x100000 4 0xaabbccdd",
				"readl 0x100000",
				"b64read 0x100000 4",
				"memset 0x100000 3 0x5a",
				"read 0x100000 5",
				"writeb 0xa0000 0x12",
				"readb 0xa0000",
				"writeq 0x200000 0x0102030405060708",
				"readq 0x200000",
				"readl 0x80000000",
				"readl 0xffffffffffffff00",
				"inl 0x5000",
			),
		).toEqual([
			"OK",
			"OK 0x00000000ddccbbaa",
			"OK qrvM3Q==",
			"OK",
			"OK 0x5a5a5add00",
			"OK",
			"OK 0x0000000000000000",
			"OK",
			"OK 0x0102030405060708",
			"OK 0x0000000000000000",
			"OK 0x0000000000000000",
			"OK 0xffffffff",
		]);
	});

	it("hands accesses to a BAR where the guest placed it", async () => {
		expect(await say(`readl 0x${BAR.toString(16)}`)).toEqual(["OK 0x0000000000000000"]);
		await placeBar();
		const at = (offset: number) => `0x${(BAR + offset).toString(16)}`;
		expect(await say(`readl ${at(0)}`, `writel ${at(4)} 0x12345678`, `readl ${at(4)}`)).toEqual([
			"OK 0x00000000010000ed",
			"OK",
			"OK 0x00000000edcba987",
		]);
		await say(config(0x10), "outl 0xcfc 0xfd000000");
		expect(await say(`readl ${at(0)}`, "readl 0xfd000000")).toEqual(["OK 0x0000000000000000", "OK 0x00000000010000ed"]);
	});

	it("writes a message into RAM when it is aimed there", async () => {
		await placeBar();
		const msi = await capability(5);
		await say(
			config(msi + 4),
			"outl 0xcfc 0x100000",
			config(msi + 12),
			"outw 0xcfc 0x4321",
			config(msi),
			"outw 0xcfe 0x81",
			`writel 0x${(BAR + 0x60).toString(16)} 1`,
		);
		expect(await say("readl 0x100000")).toEqual(["OK 0x0000000000004321"]);
	});

	it("tells of interrupt lines once it is asked to", async () => {
		await placeBar();
		const raise = `writel 0x${(BAR + 0x60).toString(16)} 1`;
		const acknowledge = `writel 0x${(BAR + 0x64).toString(16)} 1`;
		expect(await say(raise, "endianness", acknowledge)).toEqual(["OK", "OK little", "OK"]);
		expect(await say("irq_intercept_in nothing", "irq_intercept_in ioapic")).toEqual(["FAIL Unknown device", "OK"]);
		expect(await say(raise, "endianness", "endianness", acknowledge, "endianness")).toEqual([
			"OK",
			"IRQ raise 21",
			"OK little",
			"OK little",
			"IRQ lower 21",
			"OK",
			"OK little",
		]);
	});

	it("finds a device below a root port where the guest programs its numbers and windows", async () => {
		assembly[Symbol.dispose]();
		start([`vfio-pci,host=${EDU},bus=rp1`], ["pcie-root-port,id=rp1,addr=4"]);
		await say(config(0x18, 4), "outl 0xcfc 0x00010100", config(0x20, 4), "outl 0xcfc 0xfe00fe00");
		await say(config(4, 4), "outw 0xcfc 0x6");
		expect(await say(config(0, 0, 1), "inl 0xcfc")).toEqual(["OK", "OK 0x11e81234"]);
		await say(config(0x10, 0, 1), `outl 0xcfc 0x${BAR.toString(16)}`, config(4, 0, 1), "outw 0xcfc 0x6");
		expect(await say(`readl 0x${BAR.toString(16)}`)).toEqual(["OK 0x00000000010000ed"]);
	});

	it("is reset through port 0xcf9", async () => {
		await placeBar();
		expect(await say("outb 0xcf9 2", "inb 0xcf9", "outb 0xcf9 6", "inb 0xcf9")).toEqual([
			"OK",
			"OK 0x0002",
			"OK",
			"OK 0x0000",
		]);
		expect(await say("inl 0xcf8", config(0x10), "inl 0xcfc", config(4), "inw 0xcfc")).toEqual([
			"OK 0x0000",
			"OK",
			"OK 0x0000",
			"OK",
			"OK 0x0000",
		]);
	});

	it("maps RAM for DMA when it is added, and unmaps it when it is removed", () => {
		const mappings = () => linux.leaks().dmaMappings;
		const before = mappings();
		const bank = assembly.machine.addMemory(0x1_0000_0000, 1 << 20);
		expect(mappings()).toBe(before + 1);
		bank[Symbol.dispose]();
		expect(mappings()).toBe(before);
	});

	it("answers FAIL to what it does not understand, and goes on", async () => {
		expect(await say("bogus", "inb", "endianness")).toEqual([
			"FAIL Unknown command 'bogus'",
			"FAIL inb needs ADDR",
			"OK little",
		]);
	});

	it("moves a clock that stands still", async () => {
		const [first] = await say("clock_step 0");
		const [second] = await say("clock_step 5000");
		expect(Number(second?.slice(3)) - Number(first?.slice(3))).toBe(5000);
	});
});

/** Where a capability of device 5 is. */
async function capability(id: number): Promise<number> {
	let at = Number((await say(config(0x34), "inb 0xcfc"))[1]?.slice(3));
	while (at !== 0) {
		const header = Number((await say(config(at), "inw 0xcfc"))[1]?.slice(3));
		if ((header & 0xff) === id) return at;
		at = header >> 8;
	}
	throw new Error(`there is no capability ${id}`);
}
