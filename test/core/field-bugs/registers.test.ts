// What guests do to configuration space in the field, and what devices have there: no id, but the same kind of incident.
import { describe, expect, it } from "vitest";
import { assign } from "../support/assigned.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { store } from "../support/fake-vfio-device.ts";
import { configSpace, expressBody, msiBody } from "../support/pci-config.ts";

const NO_MESSAGES = [1, 0, 0, 1, 1];
const hex = (value: number) => value.toString(16);

describe("base address registers", () => {
	it("take an address written in bytes or words, and keep their type bits", () => {
		const { fn, slot } = assign();
		for (const [n, byte] of [0, 0, 0x40, 0xd0].entries()) fn.configWrite(0x10 + n, 1, byte);
		fn.configWrite(4, 2, 2);
		expect(slot.bars[0]).toBe(0xd0400000n);
		fn.configWrite(0x12, 2, 0xd100);
		fn.configWrite(0x10, 1, 0xff);
		expect([fn.configRead(0x10, 4), fn.configRead(0x12, 2), slot.bars[0]]).toEqual([0xd1000000, 0xd100, 0xd1000000n]);
	});

	it("are sized with their type: prefetchable, 64 bits, above 4 GiB, unimplemented", () => {
		const config = configSpace({ bars: [0xfe400008, 0, 0xfe50000c, 1, 0xfe600004] });
		const regions = { 0: { size: 0x1000 }, 2: { size: 2 ** 33 }, 4: { size: 0x1000 } };
		const { fn } = assign({ config, regions, irqs: NO_MESSAGES });
		const registers = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24];
		for (const at of registers) fn.configWrite(at, 4, 0xffffffff);
		expect(registers.map((at) => hex(fn.configRead(at, 4)))).toEqual([
			"fffff008",
			"0",
			"c",
			"fffffffe",
			"fffff004",
			"ffffffff",
		]);
	});

	it("of I/O ports are as small as four bytes, and never lose bit 0", () => {
		const { fn, slot } = assign({ config: configSpace({ bars: [0xe001] }), regions: { 0: { size: 4 } } });
		fn.configWrite(0x10, 4, 0xffffffff);
		expect(fn.configRead(0x10, 4)).toBe(0xfffffffd);
		fn.configWrite(0x10, 4, 0xc002);
		fn.configWrite(4, 2, 1);
		expect([slot.bars[0], fn.configRead(0x10, 4)]).toEqual([0xc000n, 0xc001]);
	});

	it("follow writes while the function decodes, as firmware of some GPUs does it", () => {
		const { fn, slot } = assign();
		fn.configWrite(4, 2, 2);
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(0x10, 4, 0xffffffff);
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(0x10, 4, 0xe0000000);
		expect(slot.placements).toEqual(["0@d0000000", "0@-", "0@d0000000", "0@-", "0@e0000000"]);
	});

	it("trade places with decoding off: both leave before either arrives", () => {
		const config = configSpace({ bars: [0xfe400000, 0xfe500000] });
		const { fn, slot } = assign({ config, regions: { 0: { size: 0x1000 }, 1: { size: 0x1000 } }, irqs: NO_MESSAGES });
		const put = (first: number, second: number) => {
			fn.configWrite(4, 2, 0);
			fn.configWrite(0x10, 4, first);
			fn.configWrite(0x14, 4, second);
			fn.configWrite(4, 2, 2);
		};
		put(0xa0000000, 0xb0000000);
		slot.placements.length = 0;
		put(0xb0000000, 0xa0000000);
		expect(slot.placements).toEqual(["0@-", "1@-", "0@b0000000", "1@a0000000"]);
	});

	it("of the ROM have an enable bit of their own, which sizing does not need", () => {
		const { fn, slot } = assign({ regions: { 0: { size: 0x10000, mappable: true }, 6: { size: 0x8000 } } });
		const write = (value: number) => {
			fn.configWrite(0x30, 4, value);
			return [hex(fn.configRead(0x30, 4)), slot.bars[6]];
		};
		expect(write(0xfffff800)).toEqual(["ffff8000", undefined]);
		expect(write(0xffffffff)).toEqual(["ffff8001", undefined]);
		expect(write(0xfebf0001)).toEqual(["febf0001", undefined]);
		fn.configWrite(4, 2, 2);
		expect(slot.bars[6]).toBe(0xfebf0000n);
		expect(write(0xfebf0000)).toEqual(["febf0000", undefined]);
		expect(write(0xffffffff)).toEqual(["ffff8001", undefined]);
	});
});

describe("accesses", () => {
	it("that no bus makes read all ones and change nothing", () => {
		const { device, fn } = assign();
		for (const [offset, width] of [
			[-1, 1],
			[3, 2],
			[0x0e, 4],
			[256, 4],
			[0.5, 1],
			[Number.NaN, 4],
		] as const) {
			expect(fn.configRead(offset, width)).toBe(2 ** (8 * width) - 1);
			fn.configWrite(offset, width, 0);
		}
		expect(device.take()).toEqual([]);
	});

	it("to COMMAND's second byte, or to all of its dword, block and free a pending INTx", () => {
		const { device, fn, slot } = assign();
		device.setLine(true);
		device.fake.settle();
		const after = (offset: number, width: 1 | 4, value: number) => {
			fn.configWrite(offset, width, value);
			return slot.pins[1];
		};
		expect([slot.pins[1], after(5, 1, 4), after(4, 4, 0)]).toEqual([true, false, true]);
	});
});

describe("capabilities", () => {
	it("are none when STATUS says so, whatever the pointer says", () => {
		const config = configSpace();
		config[0x34] = 0x50;
		config[0x50] = 5;
		const { fn } = assign({ config, regions: {}, irqs: [1, 1, 0, 1, 1] });
		expect([fn.configRead(0x34, 1), fn.configRead(6, 2) & 0x10, fn.plan.interrupts.msi]).toEqual([0, 0, 0]);
	});

	it("of PCI Express 1.0 are short: what is made of one for the root complex spares its neighbour", () => {
		const short = expressBody(0).slice(0, 0x12);
		const capabilities = [
			[0x40, 0x10, short],
			[0x54, 9, [8, 1, 2, 3]],
		] as const;
		const config = configSpace({ size: 4096, capabilities });
		config.fill(0xab, 0x5c, 0x80);
		const { fn } = assign({ config, regions: {}, irqs: NO_MESSAGES }, {}, new FakeSlot("root-complex"));
		expect([(fn.configRead(0x42, 2) >> 4) & 0xf, fn.configRead(0x4c, 4)]).toEqual([9, 0]);
		expect([0x54, 0x5c, 0x6c].map((at) => hex(fn.configRead(at, 4)))).toEqual(["1080009", "abababab", "abababab"]);
	});

	it("that would end past the space are left out, and the rest of the list stays", () => {
		const capabilities = [
			[0x40, 1, [3, 0, 0, 0]],
			[0xf4, 5, msiBody({ maskable: true })],
		] as const;
		const { fn } = assign({ config: configSpace({ capabilities }), regions: {}, irqs: [1, 1, 0, 1, 1] });
		expect(fn.plan.problems.join()).toContain("would end past 0xff");
		expect([fn.configRead(0x34, 1), fn.configRead(0x41, 1), fn.plan.interrupts.msi]).toEqual([0x40, 0, 0]);
	});

	it("that are hidden at the head of the extended list leave a stub that says nothing", () => {
		const extended = [
			[0x100, 0x10, Array(60).fill(0x77)],
			[0x140, 3, [1]],
			[0x150, 0x0e],
			[0x160, 0x0d],
		] as const;
		const config = configSpace({ size: 4096, capabilities: [[0x40, 0x10, expressBody(0)]], extended });
		const { fn } = assign({ config, regions: {}, irqs: NO_MESSAGES });
		expect([0x100, 0x110, 0x140].map((at) => hex(fn.configRead(at, 4)))).toEqual(["14000000", "0", "16010003"]);
	});

	it("for resizing a BAR name its present size alone, and stay so when a driver writes another", () => {
		const body = new Uint8Array(8);
		store(body, 0, 4, 0x3f0);
		store(body, 4, 4, 0x0820);
		const extended = [[0x100, 0x15, [...body]]] as const;
		const config = configSpace({ size: 4096, capabilities: [[0x40, 0x10, expressBody(0)]], extended });
		const { fn } = assign({ config, regions: {}, irqs: NO_MESSAGES });
		fn.configWrite(0x108, 4, 0x0320);
		expect([fn.configRead(0x104, 4), fn.configRead(0x108, 4)]).toEqual([1 << 12, 0x820]);
	});
});
