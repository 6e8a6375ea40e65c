import { describe, expect, it } from "vitest";
import type { AccessWidth } from "../../../core/kernel.ts";
import { configMirror, configWindow, type DeviceQuirk, type QuirkPlace } from "../../../core/pci/quirks/mod.ts";
import { assign, MSIX_AT, MSIX_ON, msixControl } from "../support/assigned.ts";
import { store } from "../support/fake-vfio-device.ts";
import { configSpace, msixBody } from "../support/pci-config.ts";

const quirk = (...places: QuirkPlace[]): DeviceQuirk => ({
	name: "test card",
	matches: (vendor, device) => vendor === 0x8086 && device === 0x10c9,
	places: () => places,
});

describe("configWindow()", () => {
	const window = { bar: 0, address: 0x100, data: 0x104, matches: [{ value: 0x4000, mask: 0xff }] };
	const quirks = [quirk(configWindow(window))];

	it("leads an address of configuration space to the guest's, and any other to the device", () => {
		const { device, fn } = assign({}, { quirks });
		fn.barWrite(0, 0x100, 4, 0x4010);
		// The device's own address is in its register; the guest has placed nothing yet.
		store(device.memory[0] as Uint8Array, 0x104, 4, 0xfe400000);
		expect(fn.barRead(0, 0x104, 4)).toBe(0);
		fn.barWrite(0, 0x104, 4, 0xd0000000);
		expect(fn.configRead(0x10, 4)).toBe(0xd0000000);
		expect(fn.barRead(0, 0x106, 2)).toBe(0xd000);
		fn.barWrite(0, 0x100, 4, 0x8010);
		expect(fn.barRead(0, 0x104, 4)).toBe(0xfe400000);
		device.take();
		fn.barWrite(0, 0x104, 4, 1);
		expect(device.take()).toEqual(["write 0 104 1"]);
	});

	it("reads the device all the same, and passes the address on to it", () => {
		const { device, fn } = assign({}, { quirks });
		fn.barWrite(0, 0x100, 4, 0x4000);
		fn.barRead(0, 0x104, 4);
		expect(device.take()).toEqual(["write 0 100 4000", "read 0 104", "read 7 0"]);
	});

	it("follows an address that is written byte by byte", () => {
		const { fn } = assign({}, { quirks });
		fn.barWrite(0, 0x100, 1, 0x02);
		fn.barWrite(0, 0x101, 1, 0x40);
		expect(fn.barRead(0, 0x104, 2)).toBe(0x10c9);
	});

	it("is forgotten by a reset", () => {
		const { device, fn } = assign({}, { quirks });
		fn.barWrite(0, 0x100, 4, 0x4000);
		fn.reset();
		device.memory[0]?.fill(0x11, 0x104, 0x108);
		expect(fn.barRead(0, 0x104, 4)).toBe(0x11111111);
	});

	it("cannot be reached around: by a 64-bit access, across its edge, or through mapped memory", () => {
		const { device, fn } = assign({}, { quirks });
		fn.configWrite(4, 2, 2);
		fn.barWrite(0, 0x100, 4, 0x4000);
		store(device.memory[0] as Uint8Array, 0x104, 4, 0xfe400000);
		expect(fn.barRead64(0, 0x100) >> 32n).toBe(0x10c98086n);
		expect(fn.barRead(0, 0x106, 4)).toBe(0xffffffff);
		for (const { start, end } of fn.directAreas(0)) expect(start >= 0x1000 || end <= 0).toBe(true);
		expect(fn.plan.bars[0]?.areas[0]).toEqual({ start: 0, end: 0x1000, access: "trap", reason: "test card" });
	});
});

describe("configMirror()", () => {
	const quirks = [quirk(configMirror({ bar: 0, start: 0x8000, size: 256 }))];

	it("is the guest's configuration space, in every width; the device is read and not believed", () => {
		const { device, fn } = assign({}, { quirks });
		device.memory[0]?.fill(0xaa, 0x8000, 0x8100);
		fn.configWrite(0x10, 4, 0xe0000000);
		for (const width of [1, 2, 4] as const)
			for (let at = 0; at < 256; at += width) expect(fn.barRead(0, 0x8000 + at, width)).toBe(fn.configRead(at, width));
		device.take();
		fn.barRead(0, 0x8010, 4);
		expect(device.take()).toEqual(["read 0 8010"]);
	});

	it("takes writes for writes to configuration space, with all that follows", () => {
		const { device, fn, slot } = assign({}, { quirks });
		fn.barWrite(0, 0x8010, 4, 0xe0000000);
		fn.barWrite(0, 0x8004, 2, 2);
		expect(slot.bars[0]).toBe(0xe0000000n);
		fn.barWrite(0, 0x8000 + MSIX_AT + 2, 2, MSIX_ON);
		expect(fn.interruptMode).toBe("msix");
		expect(device.memory[0]?.subarray(0x8000, 0x8100).every((byte) => byte === 0)).toBe(true);
	});
});

describe("the RTL8168", () => {
	const VECTORS = 4;
	function realtek(options: Parameters<typeof assign>[1] = {}) {
		const config = configSpace({
			bars: [0xe001, 0, 0xfe500004, 0, 0xfe40000c],
			capabilities: [[MSIX_AT, 0x11, msixBody(VECTORS, [4, 0], [4, 0x800])]],
		});
		store(config, 0, 4, 0x816810ec);
		const regions = {
			0: { size: 0x100 },
			2: { size: 0x1000, mappable: true },
			4: { size: 0x4000, mappable: true },
		};
		const made = assign({ config, regions, vectors: VECTORS, irqs: [1, 0, VECTORS, 1, 1] }, options);
		made.fn.configWrite(4, 2, 3);
		made.device.take();
		return made;
	}

	it.each([
		["memory", 2],
		["ports", 0],
	])("reads and writes the emulated MSI-X table through its registers in %s", (_, bar) => {
		const { device, fn, slot } = realtek();
		const command = (value: number) => fn.barWrite(bar, 0x74, 4, value);
		for (const [offset, value] of [
			[0x10, 0xfee00000],
			[0x18, 0x4242],
			[0x1c, 0],
		] as const) {
			fn.barWrite(bar, 0x70, 4, value);
			command(0x80010000 + offset);
			// The device says that it has written by clearing the bit.
			expect(fn.barRead(bar, 0x74, 4)).toBe(0x00010000 + offset);
		}
		command(0x00010018);
		expect(fn.barRead(bar, 0x74, 4)).toBe(0x80010018);
		expect(fn.barRead(bar, 0x70, 4)).toBe(0x4242);
		expect(fn.barRead(4, 0x18, 4)).toBe(0x4242);
		msixControl(fn, MSIX_ON);
		device.message(2, 1);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee00000=4242"]);
		expect(device.take(`write ${bar} 74`)).toEqual([]);
	});

	it("passes everything else through", () => {
		const { device, fn } = realtek();
		fn.barWrite(2, 0x74, 4, 0x80020010);
		fn.barWrite(2, 0x6c, 4, 5);
		expect(device.take("write 2")).toEqual(["write 2 74 80020010"]);
		device.memory[2]?.fill(0x33, 0x70, 0x78);
		expect(fn.barRead(2, 0x70, 4)).toBe(0x33333333);
		expect(fn.barRead64(2, 0x70)).toBe(0x3333333333333333n);
	});

	it("never lets a command about the table reach the device, however it is written", () => {
		const { device, fn } = realtek();
		for (const bar of [0, 2]) {
			fn.barWrite(bar, 0x74, 4, 0x80010000);
			fn.barWrite64(bar, 0x70, 0x8001_0000_0000_0001n);
			for (const width of [1, 2] as const)
				for (let at = 0x74; at < 0x78; at += width) fn.barWrite(bar, at, width as AccessWidth, 0x8001);
			fn.barWrite(bar, 0x72, 4, 0x80010000);
			fn.barWrite(bar, 0x76, 4, 0x00018001);
		}
		expect(device.take().filter((call) => /write [02] 7[2-7]/.test(call))).toEqual([]);
		expect(fn.directAreas(2)).toEqual([]);
	});

	it("is an ordinary device without quirks, and the plan names the quirk otherwise", () => {
		expect(realtek().fn.plan.quirks).toEqual(["RTL8168 back door to the MSI-X table"]);
		const { device, fn } = realtek({ quirks: [] });
		expect(fn.plan.quirks).toEqual([]);
		fn.barWrite(0, 0x74, 4, 0x80010000);
		expect(device.take("write 0 74")).toEqual(["write 0 74 80010000"]);
	});
});
