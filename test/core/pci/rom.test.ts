import { describe, expect, it } from "vitest";
import { adoptImage } from "../../../core/pci/rom-image.ts";
import { assign, nicConfig } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { load, store } from "../support/fake-vfio-device.ts";

/** An image of 512 bytes for a device, whose bytes add up to something else than 0. */
function image(device: number, vendor = 0x8086, length = 512): Uint8Array {
	const bytes = new Uint8Array(length);
	store(bytes, 0, 2, 0xaa55);
	bytes[2] = 1;
	bytes.fill(0x17, 0x40, 0x60);
	store(bytes, 0x18, 2, 0x1c);
	store(bytes, 0x1c, 4, 0x52494350);
	store(bytes, 0x20, 2, vendor);
	store(bytes, 0x22, 2, device);
	return bytes;
}
const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

describe("adoptImage()", () => {
	it("names the real device and makes the bytes add up to 0", () => {
		const bytes = image(0x0406);
		expect(adoptImage(bytes, { vendor: 0x8086, device: 0x0412 })).toBe(0x0406);
		expect(load(bytes, 0x22, 2)).toBe(0x0412);
		expect(sum(bytes)).toBe(0);
	});

	it.each([
		["names the device already", image(0x0412)],
		["is of another vendor", image(0x0406, 0x10de)],
		["has no signature", image(0x0406).fill(0, 0, 2)],
		["points outside for its data", image(0x0406).fill(0xff, 0x18, 0x1a)],
		["points to something else", image(0x0406).fill(0, 0x1c, 0x20)],
		["is too short", image(0x0406).subarray(0, 0x19)],
	])("leaves an image alone that %s", (_, bytes) => {
		const before = bytes.slice();
		expect(adoptImage(bytes, { vendor: 0x8086, device: 0x0412 })).toBeUndefined();
		expect(bytes).toEqual(before);
	});
});

describe("AssignedFunction's ROM", () => {
	const regions = { 0: { size: 0x10000, mappable: true }, 2: { size: 0x20 }, 6: { size: 2048 } };
	const rom = (fn: { barRead(bar: number, offset: number, width: 1): number }) =>
		Uint8Array.from({ length: 512 }, (_, at) => fn.barRead(6, at, 1));

	it("ROM-03 shows an image made for a sister device with the real id and a sum of 0, and says so", () => {
		const { device, fn, reports } = assign({ regions });
		device.memory[6]?.set(image(0x0406));
		const shown = rom(fn);
		expect([load(shown, 0x22, 2), sum(shown)]).toEqual([0x10c9, 0]);
		expect(device.memory[6]?.subarray(0, 512)).toEqual(image(0x0406));
		expect(reports).toEqual(["The option ROM of 0000:05:00.0 names device 0x0406: the guest sees its own there"]);
	});

	it("names the device that the guest was told it is", () => {
		const { device, fn } = assign({ regions }, { ids: { device: 0x1234 } });
		device.memory[6]?.set(image(0x0406));
		expect(load(rom(fn), 0x22, 2)).toBe(0x1234);
	});

	it("ROM-06 is read once: after a failure the guest reads all ones until a reset, with one report", () => {
		const { device, fn, reports } = assign({ regions });
		device.memory[6]?.set(image(0x10c9));
		device.take();
		device.failing = ["bytes 6"];
		for (let n = 0; n < 100; n++) expect(fn.barRead(6, 0, 4)).toBe(0xffffffff);
		device.failing = [];
		expect(fn.barRead(6, 0, 2)).toBe(0xffff);
		expect(device.take("bytes").length).toBe(1);
		expect(reports.length).toBe(1);
		fn.reset();
		expect(fn.barRead(6, 0, 2)).toBe(0xaa55);
	});

	it("comes from a file instead, and the device's is neither sized nor read", () => {
		const { device, fn } = assign({}, { romFile: image(0x10c9) });
		expect(fn.bar(6)?.size).toBe(2048);
		expect(fn.barRead(6, 0, 2)).toBe(0xaa55);
		expect(fn.barRead(6, 0x300, 4)).toBe(0xffffffff);
		expect(device.calls.filter((call) => /^bytes 6|7 30/.test(call))).toEqual([]);
	});

	it("has a file of 1 byte to 16 MiB", () => {
		for (const length of [0, (16 << 20) + 1])
			expect(vfioError(() => assign({}, { romFile: new Uint8Array(length) })).message).toContain(`${length} bytes`);
	});

	it("is hidden where reading it is known to hang the device, unless it is asked for", () => {
		const config = nicConfig();
		store(config, 0, 4, 0x168e14e4);
		const shown = (options: Parameters<typeof assign>[1]) => assign({ config, regions }, options).fn.bar(6)?.size;
		expect(shown({})).toBeUndefined();
		expect(shown({ rom: true })).toBe(2048);
		expect(shown({ romFile: image(1) })).toBe(2048);
		const hidden = assign({ config, regions });
		expect(hidden.device.calls.filter((call) => /^bytes 6/.test(call))).toEqual([]);
	});
});
