import { afterEach, describe, expect, it } from "vitest";
import { parseSlotAddress } from "../../core/machine/mod.ts";
import { Edu } from "../../kernel-sim/mod.ts";
import {
	ABP,
	CC,
	INDICATOR_BLINKING,
	INDICATOR_OFF,
	INDICATOR_ON,
	PDS,
	POWER_OFF,
	POWER_ON,
} from "../core/machine/slot-driver.ts";
import { vfioError } from "../core/support/error.ts";
import { hostWith } from "../kernel-sim/vfio-pci/bench.ts";
import { type BenchOptions, EDU, HotPlugBench, NVME } from "./hot-plug-bench.ts";

/** `npm run bench` does it 1,000 times, and looks whether it gets slower. */
const CYCLES = 50;

const benches: HotPlugBench[] = [];
function made(options: BenchOptions = {}): HotPlugBench {
	const bench = new HotPlugBench(options);
	benches.push(bench);
	return bench;
}

/** A VMM whose guest has booted. */
function running(options: BenchOptions = {}): HotPlugBench {
	const bench = made(options);
	bench.guest.boot();
	return bench;
}
afterEach(() => {
	for (const bench of benches.splice(0)) {
		bench[Symbol.dispose]();
		expect([bench.leaks, bench.linux.faults]).toEqual([{}, []]);
	}
});

/** The guest's driver for edu: a register, an interrupt, and DMA there and back. */
function eduWorks(bench: HotPlugBench, port: string): boolean {
	const { decoder } = bench.pci;
	const { device } = bench.guest.slot(port);
	if (device?.bar0 === undefined) return false;
	const { bar0, config } = device;
	const write = (offset: number, value: number) => decoder.memory.write(bar0 + offset, 4, value);
	write(0x04, 0x1234_5678);
	if (decoder.memory.read(bar0 + 0x04, 4) !== 0xedcb_a987) return false;
	config.configWrite(0x40 + 4, 4, 0xfee0_0000);
	config.configWrite(0x40 + 12, 2, 0x21);
	config.configWrite(0x40 + 2, 2, 1);
	bench.guest.messages.length = 0;
	write(0x60, 1);
	write(0x64, 1);
	bench.clock.settle();
	const { bytes } = bench.memory;
	bytes.fill(0x5a, 0x1000, 0x1100);
	bytes.fill(0, 0x2000, 0x2100);
	for (const [from, to, command] of [
		[0x1000, 0x40000, 1],
		[0x40000, 0x2000, 3],
	] as const) {
		write(0x80, from);
		write(0x88, to);
		write(0x90, 0x100);
		write(0x98, command);
		bench.clock.settle();
	}
	return bench.guest.messages.join() === "33" && bytes.subarray(0x2000, 0x2100).every((byte) => byte === 0x5a);
}

describe("hot plug", () => {
	it.each(["msi", "intx"] as const)("gives the guest a device that works, told by %s", (slotInterrupt) => {
		const bench = running({ slotInterrupt });
		bench.hotPlug(EDU, "rp1");
		expect(bench.guest.slot("rp1").device).toBeUndefined();
		bench.guest.run();
		expect(bench.guest.slot("rp1").log).toEqual(["uses 11e81234"]);
		expect(eduWorks(bench, "rp1")).toBe(true);
		expect(bench.events).toEqual(["slot rp1 on blinking", "slot rp1 on on"]);
	});

	it("takes two devices at once", () => {
		const bench = running();
		bench.hotPlug(EDU, "rp1");
		bench.hotPlug(NVME, "rp2");
		bench.guest.run();
		expect([bench.guest.slot("rp1").log, bench.guest.slot("rp2").log]).toEqual([["uses 11e81234"], ["uses 00101b36"]]);
		expect(eduWorks(bench, "rp1")).toBe(true);
	});

	it.each([
		["a slot other than 0", "rp1", { address: parseSlotAddress("1") }, "has only slot 0"],
		["the root bus", "pcie.0", {}, "pcie.0 has no hot-plug controller"],
		["a port without hot plug", "cold", {}, "root port cold has no hot-plug controller"],
	])("V-06 refuses %s before the device is touched", (_where, bus, options, reason) => {
		const bench = running({ ports: { rp1: {}, cold: { hotPlug: false } } });
		const before = bench.leaks;
		expect(vfioError(() => bench.hotPlug(EDU, bus, options))).toMatchObject({
			code: "not-hot-pluggable",
			message: expect.stringContaining(reason),
		});
		expect(bench.leaks).toEqual(before);
		expect(bench.guest.slot("rp1").driver.status).toBe(0);
	});

	it("leaves the slot alone when there is no such device on the host", () => {
		const bench = running();
		const before = bench.leaks;
		expect(vfioError(() => bench.hotPlug("0000:7f:00.0", "rp1")).code).toBe("no-such-device");
		bench.guest.run();
		expect([bench.guest.slot("rp1").log, bench.leaks]).toEqual([[], before]);
		bench.use(EDU, "rp1");
		expect(eduWorks(bench, "rp1")).toBe(true);
	});

	it("takes all functions of a device, and gives them back one event each", () => {
		const second = "0000:01:00.1";
		const host = hostWith({
			[EDU]: [{ ...Edu.description(), multifunction: true }, new Edu()],
			[second]: [Edu.description(), new Edu()],
		});
		const bench = running({ host });
		const one = bench.assign(second);
		bench.pci.hotPlug(one, { bus: "rp1", address: parseSlotAddress("0.1") });
		bench.hotPlug(EDU, "rp1", { multifunction: true });
		bench.guest.run();
		expect(bench.pci.bus("rp1").functionAt(1)).toBe(one);
		expect(bench.pci.requestUnplug(one)).toBe("requested");
		bench.guest.run();
		expect(bench.take()).toEqual([`unplugged ${second}`, `unplugged ${EDU}`]);
	});
});

describe("hot unplug", () => {
	it.each(["msi", "intx"] as const)(
		"takes the device when the guest has let go of it, asked by %s",
		(slotInterrupt) => {
			const bench = running({ slotInterrupt });
			const before = bench.leaks;
			const fn = bench.use(EDU, "rp1");
			expect(bench.pci.requestUnplug(fn)).toBe("requested");
			expect(bench.take()).toEqual([]);
			bench.guest.run();
			expect(bench.take()).toEqual([`unplugged ${EDU}`]);
			expect(bench.guest.slot("rp1").log).toEqual(["uses 11e81234", "released"]);
			expect([bench.guest.slot("rp1").driver.status & PDS, bench.leaks]).toEqual([0, before]);
		},
	);

	it("refuses a device that is not there", () => {
		const bench = running();
		const fn = bench.assign(EDU);
		expect(vfioError(() => bench.pci.requestUnplug(fn)).code).toBe("invalid-argument");
		bench.use(NVME, "rp2");
		bench.pci.requestUnplug(bench.pci.bus("rp2").functions[0] ?? fn);
		bench.guest.run();
		expect(bench.take()).toEqual([`unplugged ${NVME}`]);
	});

	it("is refused while the guest's power indicator blinks, and goes on when it is steady", () => {
		const bench = running();
		const fn = bench.use(EDU, "rp1");
		const { driver } = bench.guest.slot("rp1");
		driver.command(POWER_ON | INDICATOR_BLINKING);
		const refused = vfioError(() => bench.pci.requestUnplug(fn));
		expect([refused.code, refused.remedy.length]).toEqual(["guest-busy", 2]);
		expect(driver.takeEvents()).toBe(CC);
		expect(eduWorks(bench, "rp1")).toBe(true);
		driver.command(POWER_ON | INDICATOR_ON);
		expect(bench.pci.requestUnplug(fn)).toBe("requested");
		bench.guest.run();
		expect(bench.take()).toEqual([`unplugged ${EDU}`]);
	});

	it("takes two at once", () => {
		const bench = running();
		const both = [bench.use(EDU, "rp1"), bench.use(NVME, "rp2")];
		for (const fn of both) bench.pci.requestUnplug(fn);
		bench.guest.run();
		expect(bench.take()).toEqual([`unplugged ${EDU}`, `unplugged ${NVME}`]);
	});

	it("asks again as often as it is asked, and takes the device once", () => {
		const bench = running();
		const fn = bench.use(EDU, "rp1");
		for (let i = 0; i < 3; i++) expect(bench.pci.requestUnplug(fn)).toBe("requested");
		bench.guest.run();
		expect(bench.take()).toEqual([`unplugged ${EDU}`]);
		expect(vfioError(() => bench.pci.requestUnplug(fn)).code).toBe("invalid-argument");
		bench.guest.run();
		expect(bench.guest.slot("rp1").log).toEqual(["uses 11e81234", "released"]);
	});

	it("is refused on the root bus", () => {
		const bench = running();
		const fn = bench.assign(EDU);
		bench.pci.plug(fn);
		expect(vfioError(() => bench.pci.requestUnplug(fn)).code).toBe("not-hot-pluggable");
		expect(bench.pci.root.functions).toContain(fn);
	});

	it("takes the device when power and indicator are off, whatever the order, and only once", () => {
		for (const first of [POWER_OFF | INDICATOR_ON, POWER_ON | INDICATOR_OFF]) {
			const bench = running();
			bench.use(EDU, "rp1");
			const { driver } = bench.guest.slot("rp1");
			driver.command(first);
			expect(bench.take()).toEqual([]);
			driver.command(POWER_OFF | INDICATOR_OFF);
			expect(bench.take()).toEqual([`unplugged ${EDU}`]);
			driver.command(POWER_OFF | INDICATOR_OFF);
			driver.command(POWER_ON | INDICATOR_OFF);
			driver.command(POWER_OFF | INDICATOR_OFF);
			expect(bench.take()).toEqual([]);
		}
	});

	it("waits for a guest that has not booted, and for one without a hot-plug driver for ever", () => {
		const bench = made();
		const fn = bench.assign(EDU);
		bench.pci.plug(fn, { bus: "rp1" });
		expect(bench.pci.requestUnplug(fn)).toBe("requested");
		bench.guest.boot();
		expect(bench.take()).toEqual([]);
		bench.guest.run();
		expect(bench.take()).toEqual([`unplugged ${EDU}`]);

		const deaf = running({ slotInterrupt: "none" });
		const kept = deaf.assign(EDU);
		deaf.pci.plug(kept, { bus: "rp1" });
		deaf.pci.requestUnplug(kept);
		deaf.guest.run();
		expect(deaf.take()).toEqual([]);
		deaf.pci.reset();
		expect(deaf.take()).toEqual([`unplugged ${EDU}`]);
	});
});

describe("hot plug and unplug", () => {
	it("go on in sequence, in every slot", () => {
		const bench = running();
		const before = bench.leaks;
		for (const port of ["rp1", "rp2", "rp1"]) {
			const fn = bench.use(EDU, port);
			expect(eduWorks(bench, port)).toBe(true);
			bench.pci.requestUnplug(fn);
			bench.guest.run();
			expect(bench.take()).toEqual([`unplugged ${EDU}`]);
			expect(bench.leaks).toEqual(before);
		}
	});

	it("leave nothing, however often", () => {
		const bench = running();
		const before = bench.leaks;
		for (let i = 0; i < CYCLES; i++) bench.cycle(EDU, "rp1");
		expect(bench.leaks).toEqual(before);
	});

	it("an unplug during a plug is refused while the guest is at it, and done at once before", () => {
		const bench = running();
		const fn = bench.hotPlug(EDU, "rp1");
		const { driver } = bench.guest.slot("rp1");
		driver.takeEvents();
		driver.command(POWER_ON | INDICATOR_BLINKING);
		expect(vfioError(() => bench.pci.requestUnplug(fn)).code).toBe("guest-busy");
		driver.command(POWER_ON | INDICATOR_ON);
		expect(bench.pci.requestUnplug(fn)).toBe("requested");
		driver.powerOff();
		expect(bench.take()).toEqual([`unplugged ${EDU}`]);

		const early = bench.hotPlug(NVME, "rp2");
		expect(bench.pci.requestUnplug(early)).toBe("unplugged");
		expect(bench.take()).toEqual([`unplugged ${NVME}`]);
		bench.guest.run();
		expect(bench.guest.slot("rp2").log).toEqual([]);
	});

	it("a plug during an unplug is refused until the guest has let go", () => {
		const bench = running();
		const fn = bench.use(EDU, "rp1");
		bench.pci.requestUnplug(fn);
		expect(vfioError(() => bench.hotPlug(NVME, "rp1"))).toMatchObject({
			code: "not-hot-pluggable",
			message: expect.stringContaining("the guest has not let go of it yet"),
		});
		bench.guest.run();
		bench.use(NVME, "rp1");
		expect(bench.guest.slot("rp1").log).toEqual(["uses 11e81234", "released", "uses 00101b36"]);
	});
});

describe("a device that was hot plugged", () => {
	it("reads all ones past the end of configuration space, and takes accesses of any size and place", () => {
		const bench = running();
		const fn = bench.use(NVME, "rp1");
		expect([fn.configRead(4096, 4), fn.configRead(4095, 2), fn.configRead(0xffd, 4)]).toEqual([
			0xffffffff, 0xffff, 0xffffffff,
		]);
		for (const width of [1, 2, 4] as const) fn.configWrite(4096, width, 0);
		expect(fn.configRead(0, 1) | (fn.configRead(1, 1) << 8)).toBe(fn.configRead(0, 2));
		expect(fn.configRead(0, 4)).toBe(0x00101b36);
		expect(fn.configRead(1, 2)).toBe(0x101b);
		const bar = bench.guest.slot("rp1").device?.bar0 ?? 0;
		const { memory } = bench.pci.decoder;
		expect(memory.read(bar, 1) | (memory.read(bar + 1, 1) << 8)).toBe(memory.read(bar, 2));
		expect(Number(memory.read64(bar) & 0xffffffffn)).toBe(memory.read(bar, 4));
	});

	it("keeps its interrupts back while MSI-X is masked, by vector or by function, and sends them afterwards", () => {
		const bench = running();
		bench.use(NVME, "rp1");
		const nvme = new NvmeAdmin(bench);
		for (const mask of ["vector", "function"] as const) {
			nvme.mask(mask, true);
			nvme.identify();
			expect([bench.guest.messages, nvme.pending]).toEqual([[], true]);
			nvme.mask(mask, false);
			expect([bench.guest.messages.splice(0), nvme.pending]).toEqual([[0x31], false]);
		}
		nvme.identify();
		expect(bench.guest.messages).toEqual([0x31]);
	});

	it("can be moved as often as the guest likes, and holds no more mappings for it", () => {
		const bench = running();
		bench.use(EDU, "rp1");
		const { device } = bench.guest.slot("rp1");
		if (device?.bar0 === undefined) return expect.unreachable();
		const before = bench.leaks;
		for (let i = 0; i < 50; i++) {
			const moved = device.bar0 + (i % 8) * 0x10_0000;
			device.config.configWrite(4, 2, 0);
			expect(bench.pci.decoder.memory.find(device.bar0)).toBeUndefined();
			device.config.configWrite(0x10, 4, moved);
			device.config.configWrite(4, 2, 6);
			expect(bench.pci.decoder.memory.read(moved, 4)).toBe(0x010000ed);
		}
		expect(bench.leaks).toEqual(before);
	});
});

describe("a device that the host takes away", () => {
	it("is asked of the guest, and the host has it when the guest has let go", async () => {
		const bench = running();
		const fn = bench.use(NVME, "rp1");
		fn.onEvent((event) => event.type === "device-requested" && bench.pci.requestUnplug(fn));
		const unbound = bench.linux.writeFileAsync(bench.kernel, "/sys/bus/pci/drivers/vfio-pci/unbind", NVME);
		await Promise.resolve();
		bench.clock.settle();
		expect(bench.guest.slot("rp1").driver.status & ABP).toBe(ABP);
		bench.guest.run();
		expect(bench.take()).toEqual([`unplugged ${NVME}`]);
		await unbound;
	});

	it("is lost to the guest when it was pulled out: all ones, presence and link gone, the next one works", () => {
		const bench = running();
		const fn = bench.use(NVME, "rp1");
		const { device } = bench.guest.slot("rp1");
		const hardware = bench.host.machine.function(NVME);
		if (hardware) hardware.present = false;
		expect(bench.pci.decoder.memory.read(device?.bar0 ?? 0, 4)).toBe(0xffffffff);
		bench.pci.unplug(fn);
		bench.giveBack(fn);
		expect(device?.config.configRead(0, 4)).toBe(0xffffffff);
		bench.guest.run();
		bench.use(EDU, "rp1");
		expect(bench.guest.slot("rp1").log).toEqual(["uses 00101b36", "lost", "uses 11e81234"]);
		expect(eduWorks(bench, "rp1")).toBe(true);
	});
});

/** The guest's driver for NVMe, as far as its administration queue. */
class NvmeAdmin {
	readonly #bench: HotPlugBench;
	readonly #bar: number;
	readonly #table: number;
	readonly #pba: number;
	readonly #capability: number;
	#tail = 0;

	constructor(bench: HotPlugBench) {
		this.#bench = bench;
		const { device } = bench.guest.slot("rp1");
		if (device?.bar0 === undefined) throw new Error("the guest has no controller");
		this.#bar = device.bar0;
		let at = device.config.configRead(0x34, 1);
		while (device.config.configRead(at, 1) !== 0x11) at = device.config.configRead(at + 1, 1);
		this.#capability = at;
		this.#table = this.#bar + (device.config.configRead(at + 4, 4) & ~7);
		this.#pba = this.#bar + (device.config.configRead(at + 8, 4) & ~7);
		const { memory } = bench.pci.decoder;
		memory.write(this.#table, 4, 0xfee0_0000);
		memory.write(this.#table + 8, 4, 0x31);
		memory.write(this.#table + 12, 4, 0);
		device.config.configWrite(at + 2, 2, 0x8000);
		memory.write(this.#bar + 0x24, 4, 0x000f_000f);
		memory.write64(this.#bar + 0x28, 0x1_0000n);
		memory.write64(this.#bar + 0x30, 0x1_1000n);
		memory.write(this.#bar + 0x14, 4, 0x0046_0001);
		bench.clock.settle();
		if ((memory.read(this.#bar + 0x1c, 4) & 1) === 0) throw new Error("the controller does not start");
	}

	/** Whether vector 0 waits. */
	get pending(): boolean {
		return (this.#bench.pci.decoder.memory.read(this.#pba, 4) & 1) !== 0;
	}

	mask(what: "vector" | "function", on: boolean): void {
		const { config } = this.#bench.guest.slot("rp1").device ?? {};
		if (what === "vector") this.#bench.pci.decoder.memory.write(this.#table + 12, 4, on ? 1 : 0);
		else config?.configWrite(this.#capability + 2, 2, on ? 0xc000 : 0x8000);
		this.#bench.clock.settle();
	}

	identify(): void {
		const { memory, pci, clock } = this.#bench;
		const command = new DataView(memory.bytes.buffer, memory.bytes.byteOffset + 0x1_0000 + 64 * this.#tail, 64);
		command.setUint32(0, 0x06 | (this.#tail << 16), true);
		command.setUint32(24, 0x1_2000, true);
		command.setUint32(40, 1, true);
		this.#tail++;
		pci.decoder.memory.write(this.#bar + 0x1000, 4, this.#tail);
		clock.settle();
	}
}
