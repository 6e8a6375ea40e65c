import { describe, expect, it } from "vitest";
import { assign, MSIX_MASKALL, MSIX_ON, msixControl, PBA, program, TABLE } from "../support/assigned.ts";
import { configSpace, msixBody } from "../support/pci-config.ts";

describe("MSI-X", () => {
	it("M-13 Z-5 follows the guest's enable bit on the host, with every vector masked", () => {
		const { device, fn } = assign();
		msixControl(fn, MSIX_ON);
		expect(device.take("set")).toEqual(["set 2 0 [-1]"]);
		expect(device.irqState[2]?.active).toBe(true);
		expect(fn.interruptMode).toBe("msix");
	});

	it.each([
		[1, true],
		[8, true],
		[2048, true],
		[1, false],
		[8, false],
		[2048, false],
	])("M-02 enables %i vectors with at most two calls (dynamic: %s)", (vectors, dynamic) => {
		const regions = { 0: { size: 0x10000, mappable: true } };
		const { device, fn, slot } = assign({ vectors, dynamic, regions, config: bigConfig(vectors) });
		for (let vector = 0; vector < vectors; vector++) {
			const at = 16 * vector;
			fn.barWrite(0, at, 4, 0xfee00000);
			fn.barWrite(0, at + 8, 4, vector);
			fn.barWrite(0, at + 12, 4, 0);
		}
		msixControl(fn, MSIX_ON);
		expect(device.take("set").length).toBe(dynamic ? 2 : 1);
		expect(device.message(2, vectors - 1)).toBe(true);
		device.fake.settle();
		expect(slot.messages).toEqual([`fee00000=${(vectors - 1).toString(16)}`]);
	});

	it("arms all vectors with one call when the guest takes the function mask away", () => {
		for (const dynamic of [true, false]) {
			const { device, fn } = assign({ dynamic });
			msixControl(fn, MSIX_ON | MSIX_MASKALL);
			for (let vector = 0; vector < 8; vector++) program(fn, vector);
			expect(device.take("set")).toEqual(["set 2 0 [-1]"]);
			msixControl(fn, MSIX_ON);
			expect(device.take("set").length).toBe(1);
			expect(device.irqState[2]?.fds.filter((fd) => fd >= 0).length).toBe(8);
		}
	});

	it("M-04 adds single vectors to a dynamic kernel, and rebuilds the range in another", () => {
		const modern = assign({ dynamic: true });
		msixControl(modern.fn, MSIX_ON);
		modern.device.take();
		program(modern.fn, 3);
		expect(modern.device.take().length).toBe(1);
		expect(modern.device.irqState[2]?.fds.map((fd) => fd >= 0)).toEqual([false, false, false, true]);

		const older = assign({ dynamic: false });
		msixControl(older.fn, MSIX_ON);
		older.device.take();
		program(older.fn, 3);
		program(older.fn, 1);
		expect(older.device.take().map((call) => call.replace(/\d{3}/g, "fd"))).toEqual([
			"disable 2",
			"set 2 0 [-1,-1,-1,fd]",
			"set 2 1 [fd]",
		]);
	});

	it("M-04 Z-6 makes no interrupt of its own on enable, growth or unmask", () => {
		for (const dynamic of [true, false]) {
			const { device, fn, slot } = assign({ dynamic });
			program(fn, 0);
			msixControl(fn, MSIX_ON);
			for (let vector = 1; vector < 8; vector++) program(fn, vector);
			fn.barWrite(0, TABLE + 12, 4, 1);
			fn.barWrite(0, TABLE + 12, 4, 0);
			device.fake.settle();
			expect(slot.messages).toEqual([]);
		}
	});

	it("M-05 masks without a call to the kernel: what arrives pends, and fires once at unmask", () => {
		const { device, fn, slot } = assign();
		program(fn, 2);
		msixControl(fn, MSIX_ON);
		device.take();
		fn.barWrite(0, TABLE + 2 * 16 + 12, 4, 1);
		device.message(2, 2);
		device.message(2, 2);
		device.fake.settle();
		expect(slot.messages).toEqual([]);
		expect(fn.barRead(0, PBA, 4)).toBe(1 << 2);
		fn.barWrite(0, TABLE + 2 * 16 + 12, 4, 0);
		expect(slot.messages).toEqual(["fee00020=42"]);
		expect(fn.barRead(0, PBA, 4)).toBe(0);
		expect(device.take().filter((call) => !call.startsWith("read"))).toEqual([]);
	});

	it("pends under the function mask as well", () => {
		const { device, fn, slot } = assign();
		for (const vector of [0, 5]) program(fn, vector);
		msixControl(fn, MSIX_ON);
		msixControl(fn, MSIX_ON | MSIX_MASKALL);
		device.message(2, 5);
		device.fake.settle();
		expect(slot.messages).toEqual([]);
		msixControl(fn, MSIX_ON);
		expect(slot.messages).toEqual(["fee00050=45"]);
	});

	it("keeps direct access to the pending bits while none of ours is set", () => {
		const { device, fn, slot } = assign();
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		const open = [
			[0, 0x2000],
			[0x3000, 0x10000],
		];
		const areas = () => fn.directAreas(0).map(({ start, end }) => [start, end]);
		expect(areas()).toEqual(open);
		fn.barWrite(0, TABLE + 12, 4, 1);
		device.message(2, 0);
		device.fake.settle();
		expect(slot.changes).toEqual([0]);
		expect(areas()).toEqual([
			[0, 0x2000],
			[0x4000, 0x10000],
		]);
		fn.barWrite(0, TABLE + 12, 4, 0);
		expect(areas()).toEqual(open);
		expect(slot.changes).toEqual([0, 0]);
	});

	it("shows the device's own pending bits of vectors that were never armed", () => {
		const { device, fn } = assign();
		device.memory[0]?.set([0x81], PBA);
		expect(fn.barRead(0, PBA, 4)).toBe(0x81);
		fn.barWrite(0, PBA, 4, 0);
		expect(fn.barRead(0, PBA, 4)).toBe(0x81);
	});

	it("uses the message that the entry holds when the interrupt arrives", () => {
		const { device, fn, slot } = assign();
		program(fn, 1);
		msixControl(fn, MSIX_ON);
		fn.barWrite64(0, TABLE + 16, 0x1_0000_1000n);
		fn.barWrite(0, TABLE + 16 + 8, 4, 0xabcd);
		device.message(2, 1);
		device.fake.settle();
		expect(slot.messages).toEqual(["100001000=abcd"]);
	});

	it("never lets the guest's table reach the device", () => {
		const { device, fn } = assign();
		program(fn, 0);
		fn.barWrite64(0, TABLE, 0x1111_2222_3333_4444n);
		expect(device.memory[0]?.subarray(TABLE, TABLE + 0x80).every((byte) => byte === 0)).toBe(true);
		expect(device.take("write 0")).toEqual([]);
		expect(fn.barRead64(0, TABLE)).toBe(0x1111_2222_3333_4444n);
		expect(fn.barRead(0, TABLE + 12, 4)).toBe(0);
		expect(fn.barRead(0, TABLE + 16 + 12, 4)).toBe(1);
	});

	it("answers accesses to the table that the specification leaves undefined", () => {
		const { fn } = assign();
		program(fn, 0);
		expect(fn.barRead(0, TABLE, 1)).toBe(0xff);
		expect(fn.barRead(0, TABLE + 2, 4)).toBe(0xffffffff);
		expect(fn.barRead(0, TABLE - 2, 4)).toBe(0xffffffff);
		fn.barWrite(0, TABLE + 8, 1, 0xff);
		fn.barWrite(0, TABLE - 2, 4, 0xffffffff);
		expect(fn.barRead(0, TABLE + 8, 4)).toBe(0x40);
	});

	it("M-08 gives everything back when the guest switches it off, and returns to INTx", () => {
		const { device, fn } = assign();
		for (let vector = 0; vector < 8; vector++) program(fn, vector);
		msixControl(fn, MSIX_ON);
		expect(device.fake.eventfds.size).toBe(8 + 2);
		msixControl(fn, 0);
		expect(device.fake.eventfds.size).toBe(1 + 2);
		expect(device.irqState[2]?.active).toBe(false);
		expect(device.irqState[0]?.active).toBe(true);
		expect(fn.interruptMode).toBe("intx");
		expect(fn.barRead(0, TABLE + 12, 4)).toBe(0);
	});

	it("forgets what was pending when it is switched off", () => {
		const { device, fn, slot } = assign();
		program(fn, 0);
		msixControl(fn, MSIX_ON | MSIX_MASKALL);
		device.message(2, 0);
		msixControl(fn, MSIX_ON);
		msixControl(fn, MSIX_ON | MSIX_MASKALL);
		device.message(2, 0);
		device.fake.settle();
		msixControl(fn, 0);
		msixControl(fn, MSIX_ON);
		device.fake.settle();
		expect(slot.messages).toEqual([]);
		expect(fn.barRead(0, PBA, 4)).toBe(0);
	});

	it("goes on with the vectors that the host has", () => {
		for (const dynamic of [true, false]) {
			const { device, fn, slot, reports } = assign({ dynamic, available: 3 });
			for (let vector = 0; vector < 8; vector++) program(fn, vector);
			msixControl(fn, MSIX_ON);
			expect(reports.length).toBeGreaterThan(0);
			expect(reports[0]).toContain("0000:05:00.0");
			for (let vector = 0; vector < 8; vector++) device.message(2, vector);
			device.fake.settle();
			expect(slot.messages).toEqual(["fee00000=40", "fee00010=41", "fee00020=42"]);
		}
	});

	it("reports a kernel that refuses, and tries again with the next unmask", () => {
		const { device, fn, slot, reports } = assign();
		msixControl(fn, MSIX_ON);
		device.failing = ["set"];
		program(fn, 1);
		expect(reports.length).toBe(1);
		device.failing = [];
		fn.barWrite(0, TABLE + 16 + 12, 4, 1);
		fn.barWrite(0, TABLE + 16 + 12, 4, 0);
		device.message(2, 1);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee00010=41"]);
	});
});

function bigConfig(vectors: number): Uint8Array {
	return configSpace({
		bars: [0xfe400000],
		capabilities: [[0x70, 0x11, msixBody(vectors, [0, 0], [0, 0x8000])]],
	});
}
