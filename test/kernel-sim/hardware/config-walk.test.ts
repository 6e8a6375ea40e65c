import { describe, expect, it } from "vitest";
import {
	findCapability,
	walkCapabilities,
	walkExtendedCapabilities,
} from "../../../kernel-sim/hardware/config-walk.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { describeConfig } from "../../../kernel-sim/hardware/raw-config.ts";

/** 4096 bytes with a capability list that starts at `head`; `entries` are [offset, id, next]. */
function standard(head: number, ...entries: [number, number, number][]): Uint8Array {
	const config = new Uint8Array(4096);
	config[0x06] = 0x10;
	config[0x34] = head;
	for (const [offset, id, next] of entries) {
		config[offset] = id;
		config[offset + 1] = next;
	}
	return config;
}

function extended(...entries: [number, number, number][]): Uint8Array {
	const config = new Uint8Array(4096);
	for (const [offset, id, next] of entries)
		new DataView(config.buffer).setUint32(offset, id | 0x10000 | (next << 20), true);
	return config;
}

const offsets = (found: { offset: number }[]) => found.map(({ offset }) => offset);

describe("walkCapabilities()", () => {
	it("follows the chain in its order", () => {
		const config = standard(0x80, [0x80, 1, 0x40], [0x40, 5, 0]);
		expect(walkCapabilities(config)).toEqual([
			{ id: 1, version: 0, offset: 0x80 },
			{ id: 5, version: 0, offset: 0x40 },
		]);
		expect(findCapability(config, 5)).toBe(0x40);
		expect(findCapability(config, 9)).toBe(0);
	});

	it.each([
		["itself", standard(0x40, [0x40, 1, 0x40]), [0x40]],
		["an earlier one", standard(0x40, [0x40, 1, 0x50], [0x50, 5, 0x40]), [0x40, 0x50]],
		["the header", standard(0x40, [0x40, 1, 0x10]), [0x40]],
		["the header at once", standard(0x04), []],
		["an odd offset", standard(0x43, [0x40, 1, 0x52], [0x50, 5, 1]), [0x40, 0x50]],
		["all ones", standard(0x40, [0x40, 1, 0xfc], [0xfc, 0xff, 0xff]), [0x40]],
	])("ends when the chain leads to %s", (_name, config, expected) => {
		expect(offsets(walkCapabilities(config))).toEqual(expected);
	});

	it("finds nothing when STATUS says that there is no list", () => {
		const config = standard(0x40, [0x40, 1, 0]);
		config[0x06] = 0;
		expect(walkCapabilities(config)).toEqual([]);
	});

	it("ends when the device is all ones", () => {
		expect(walkCapabilities(new Uint8Array(4096).fill(0xff))).toEqual([]);
		expect(walkExtendedCapabilities(new Uint8Array(4096).fill(0xff))).toEqual([]);
	});
});

describe("walkExtendedCapabilities()", () => {
	it("follows the chain in its order", () => {
		const found = walkExtendedCapabilities(extended([0x100, 1, 0x200], [0x200, 0xd, 0x180], [0x180, 3, 0]));
		expect(offsets(found)).toEqual([0x100, 0x200, 0x180]);
		expect(found[1]).toEqual({ id: 0xd, version: 1, offset: 0x200 });
	});

	it.each([
		["itself", extended([0x100, 1, 0x100]), [0x100]],
		["an earlier one", extended([0x100, 1, 0x200], [0x200, 2, 0x100]), [0x100, 0x200]],
		["the first 256 bytes", extended([0x100, 1, 0x40]), [0x100]],
		["nothing", extended([0x100, 1, 0x200]), [0x100]],
	])("ends when the chain leads to %s", (_name, config, expected) => {
		expect(offsets(walkExtendedCapabilities(config))).toEqual(expected);
	});

	it("finds nothing in 256 bytes", () => {
		expect(walkExtendedCapabilities(new Uint8Array(256))).toEqual([]);
	});
});

describe("describeConfig()", () => {
	/** Deterministic bytes. */
	function noise(seed: number, length: number): Uint8Array {
		let state = seed;
		return Uint8Array.from({ length }, () => {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			return state >>> 24;
		});
	}

	it("makes a function of any bytes, which can be read, written and reset", () => {
		for (let seed = 0; seed < 300; seed++) {
			const bytes = noise(seed, seed % 3 === 0 ? 256 : seed % 3 === 1 ? 4096 : 64);
			bytes[0x06] = (bytes[0x06] ?? 0) | 0x10;
			const fn = new PciFunction(describeConfig(bytes));
			for (let offset = 0; offset < 256; offset += 4) fn.configWrite(offset, 4, 0xffffffff);
			for (let offset = 0; offset < 256; offset += 4) fn.configWrite(offset, 4, 0);
			fn.reset();
			expect(fn.configRead(0, 4)).toBe(new DataView(bytes.buffer).getUint32(0, true));
			expect(fn.writable.some((bits, offset) => (bits & (fn.writeOneToClear[offset] ?? 0)) !== 0)).toBe(false);
		}
	});

	it("starts with the captured values and resets to none", () => {
		const bytes = standard(0x40, [0x40, 5, 0x60], [0x60, 1, 0]);
		bytes.set([0x34, 0x12, 0xe8, 0x11, 0x07, 0x04], 0);
		bytes.set([0x00, 0x00, 0xe0, 0xfe], 0x10);
		bytes.set([0x81, 0x00, 0x00, 0x10, 0xe0, 0xfe], 0x42);
		bytes.set([0x08, 0x00, 0x0b, 0x00], 0x62);
		const bars = [{ index: 0, kind: "mem32", size: 0x1000, backing: "memory" } as const];
		const fn = new PciFunction(describeConfig(bytes, { bars }));
		expect(fn.barAddress(0)).toBe(0xfee00000n);
		expect([fn.memoryEnabled, fn.interruptMode, fn.powerState]).toEqual([true, "msi", 3]);
		fn.reset();
		expect([fn.barAddress(0), fn.memoryEnabled, fn.interruptMode, fn.powerState]).toEqual([0n, false, "intx", 0]);
		expect(fn.configRead(0x64, 2)).toBe(0x0008);
	});
});
