import { afterEach, describe, expect, it } from "vitest";
import { parseSlotAddress } from "../../../core/machine/mod.ts";
import { type GuestEvent, GuestMachine, type GuestMachineOptions, guestProgram } from "../../../runner/machine/mod.ts";
import { AdoptingKernel } from "./adopting-kernel.ts";
import { FakeEdu, type FakeEduOptions } from "./fake-edu.ts";

const machines: GuestMachine[] = [];

afterEach(async () => {
	for (const machine of machines.splice(0)) await machine[Symbol.asyncDispose]();
});

async function boot(options: Partial<GuestMachineOptions> = {}) {
	const kernel = new AdoptingKernel();
	const machine = await GuestMachine.create({
		kernel: kernel.asKernel,
		program: guestProgram(),
		timeLimit: 20_000,
		...options,
	});
	machines.push(machine);
	const events: GuestEvent[] = [];
	const results = new Map<string, string>();
	machine.onEvent((event) => {
		events.push(event);
		if (event.type === "result") results.set(event.name, event.value);
	});
	const edu = (fakeOptions: FakeEduOptions = {}) => new FakeEdu(() => kernel.ram, fakeOptions);
	const lines = () => events.flatMap((event) => (event.type === "console" ? [event.line] : []));
	return { kernel, machine, events, results, edu, lines };
}

describe("GuestMachine", () => {
	it.each([
		["msi", { messages: 11, intx: 0 }],
		["intx", { messages: 0, intx: 11 }],
	] as const)("runs a guest that drives a device on the root bus by %s", async (interrupt, counts) => {
		const { machine, results, edu } = await boot({ commandLine: `interrupt=${interrupt}` });
		machine.topology.plug(edu(), { address: parseSlotAddress("5") });
		expect(await machine.run()).toMatchObject({ kind: "pass" });
		expect(results.get("edu0.interrupt")).toBe(interrupt);
		expect(results.get("edu0.interrupts")).toBe("11");
		expect(results.get("edu0.dma.bytes")).toBe("4096");
		expect(machine.statistics).toMatchObject({ ...counts, droppedMessages: 0 });
	});

	it("runs a guest that drives devices behind root ports and in one multifunction slot", async () => {
		const { machine, results, edu } = await boot();
		machine.topology.addRootPort("rp1", { address: parseSlotAddress("8.0"), multifunction: true });
		machine.topology.addRootPort("rp2", { address: parseSlotAddress("8.1") });
		machine.topology.plug(edu(), { bus: "rp1" });
		machine.topology.plug(edu({ msi: false }), { bus: "rp2" });
		machine.topology.plug(edu(), { address: parseSlotAddress("5.0"), multifunction: true });
		machine.topology.plug(edu({ msi: false }), { address: parseSlotAddress("5.1") });
		expect(await machine.run()).toMatchObject({ kind: "pass" });
		expect(results.get("driven")).toBe("4");
		expect([0, 1, 2, 3].map((i) => results.get(`edu${i}.interrupt`))).toEqual(["msi", "intx", "msi", "intx"]);
	});

	it.each([true, false])("loses no interrupt when a pin goes down late (jit: %s)", async (jit) => {
		const { machine, edu, results } = await boot({ commandLine: "interrupt=intx", jit });
		for (let i = 0; i < 4; i++) machine.topology.plug(edu({ latePin: true }));
		expect(await machine.run()).toMatchObject({ kind: "pass" });
		expect(Number(results.get("edu3.interrupts"))).toBeGreaterThanOrEqual(11);
	});

	it.each([true, false])(
		"survives a request that is withdrawn before the processor takes it (jit: %s)",
		async (jit) => {
			const { machine, edu } = await boot({ commandLine: "interrupt=intx", jit });
			const [first, second] = [edu(), edu()];
			machine.topology.plug(first, { address: parseSlotAddress("5") });
			machine.topology.plug(second, { address: parseSlotAddress("6") });
			second.onAcknowledge = () => {
				first.pull(true);
				first.pull(false);
			};
			expect(await machine.run()).toMatchObject({ kind: "pass" });
		},
	);

	it("shows the guest the PC's own functions too", async () => {
		const { machine, lines, edu } = await boot();
		machine.topology.plug(edu());
		await machine.run();
		expect(lines()).toContain("  00:00.0 8086:1237 class 060000");
		expect(lines()).toContain("  00:01.0 8086:7000 class 060100");
	});

	it("refuses slots that the PC's own functions have", async () => {
		const { machine, edu } = await boot();
		expect(() => machine.topology.plug(edu(), { address: parseSlotAddress("1") })).toThrow(
			/slot 01.0: the PC's ISA bridge is there/,
		);
	});

	it("ends with the guest's reason when the guest fails", async () => {
		const { machine, lines } = await boot();
		const outcome = await machine.run();
		expect(outcome).toMatchObject({ kind: "fail", reason: "nothing is plugged in" });
		expect(lines().at(-1)).toBe("GUEST FAIL nothing is plugged in");
		expect(await machine.run()).toBe(outcome);
	});

	it.each([
		["blocks=x", 'the option "blocks=x" is not understood'],
		["interrupt=fast", 'the option "interrupt=fast" is not understood'],
		["nonsense", 'the option "nonsense" is not understood'],
	])("passes the command line %j to the guest", async (commandLine, reason) => {
		const { machine } = await boot({ commandLine });
		expect(await machine.run()).toMatchObject({ kind: "fail", reason });
	});

	it("ends a guest at the limit", async () => {
		const { machine, edu } = await boot({ timeLimit: 100 });
		machine.topology.plug(edu({ mute: true }));
		expect(await machine.run()).toMatchObject({ kind: "timeout", reason: "it was still running after 100 ms" });
	});

	it("stop() ends a run that has not ended, and one that never began", async () => {
		const running = await boot();
		running.machine.topology.plug(running.edu({ mute: true }));
		const outcome = running.machine.run();
		await running.machine.stop();
		expect(await outcome).toMatchObject({ kind: "stopped" });

		const idle = await boot();
		await idle.machine.stop();
		expect(await idle.machine.run()).toMatchObject({ kind: "stopped", duration: 0 });
	});

	it("pause() has the guest stand still, and resume() lets it go on", async () => {
		const { machine, edu, lines } = await boot({ timeLimit: Number.POSITIVE_INFINITY });
		machine.topology.plug(edu());
		machine.onEvent((event) => {
			if (event.type === "result" && event.name === "edu0.version") setImmediate(() => void halfWay());
		});
		const standing: number[] = [];
		const halfWay = async () => {
			await machine.pause();
			const before = machine.statistics.memoryAccesses;
			for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
			standing.push(machine.statistics.memoryAccesses - before);
			machine.resume();
			machine.resume();
		};
		expect(await machine.run()).toMatchObject({ kind: "pass" });
		expect(standing).toEqual([0]);
		expect(lines().at(-1)).toBe("GUEST PASS");
		await machine.pause();
		machine.resume();
	});

	it("ends with the error when a function throws, and the process lives", async () => {
		const { machine, edu } = await boot();
		const broken = edu();
		broken.barRead = () => {
			throw new Error("broken model");
		};
		machine.topology.plug(broken);
		expect(await machine.run()).toMatchObject({ kind: "error", reason: "broken model" });
	});

	it("dispose unplugs functions and gives the memory back", async () => {
		const { machine, kernel, edu } = await boot();
		const fn = edu();
		machine.topology.plug(fn);
		machines.splice(0);
		await machine[Symbol.asyncDispose]();
		expect(fn.unplugged).toBe(true);
		expect(kernel.disposed).toBe(1);
	});

	it("delivers messages to RAM as the writes they are, and drops what nobody gets", async () => {
		const { machine, kernel, edu } = await boot();
		const fn = edu();
		machine.topology.plug(fn);
		fn.send(0x20_0000n, 0x1234_5678);
		expect([...kernel.ram.subarray(0x20_0000, 0x20_0004)]).toEqual([0x78, 0x56, 0x34, 0x12]);
		fn.send(0xff_ffffn, 1);
		fn.send(0xfee0_1000n, 0x40);
		fn.send(0xfee0_0000n, 0x0440);
		fn.send(0xfee0_0000n, 0x0f);
		expect(machine.statistics).toMatchObject({ messages: 5, droppedMessages: 4 });
	});

	it.each([
		[new Uint8Array(10), /it is not a 32-bit ELF file/],
		[new Uint8Array(8192), /it is not a 32-bit ELF file/],
		[guestProgram().subarray(0, 4096), /it has no multiboot header/],
	])("create() refuses a program it cannot run", async (program, message) => {
		await expect(boot({ program })).rejects.toThrow(message);
	});

	it.each([0, 3 << 20, 2 ** 31])("create() refuses %i bytes of RAM", async (memorySize) => {
		await expect(boot({ memorySize })).rejects.toThrow(/it must be a power of two/);
	});
});
