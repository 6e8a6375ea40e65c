import { describe, expect, it } from "vitest";
import type { GuestBar } from "../../../core/machine/machine.ts";
import { decodedAddress, emulateBars } from "../../../core/pci/bar-registers.ts";
import { ConfigRegisters, ConfigSpace } from "../../../core/pci/config-space.ts";

function guest(bars: GuestBar[]): { config: ConfigSpace; registers: ConfigRegisters } {
	const registers = new ConfigRegisters(new Uint8Array(256).fill(0xa5));
	registers.set(4, 2, 0);
	registers.wmask[4] = 7;
	emulateBars(registers, bars);
	return { registers, config: new ConfigSpace(registers, { read: () => 0, write: () => {} }) };
}

const mem32: GuestBar = { index: 0, kind: "mem32", size: 0x4000, prefetchable: false };
const mem64: GuestBar = { index: 2, kind: "mem64", size: 2 ** 34, prefetchable: true };
const io: GuestBar = { index: 4, kind: "io", size: 0x20, prefetchable: false };
const rom: GuestBar = { index: 6, kind: "mem32", size: 0x8000, prefetchable: false };

describe("emulateBars()", () => {
	it("sizes as hardware does", () => {
		const { config } = guest([mem32, mem64, io, rom]);
		for (let at = 0x10; at <= 0x30; at += 4) config.write(at, 4, 0xffffffff);
		expect(config.read(0x10, 4)).toBe(0xffffc000);
		expect(config.read(0x14, 4)).toBe(0);
		expect(config.read(0x18, 4)).toBe(0x0000000c);
		expect(config.read(0x1c, 4)).toBe(0xfffffffc);
		expect(config.read(0x20, 4)).toBe(0xffffffe1);
		expect(config.read(0x24, 4)).toBe(0);
		expect(config.read(0x30, 4)).toBe(0xffff8001);
	});

	it("gives a 64-bit BAR below 4 GiB a whole upper half", () => {
		const { config } = guest([{ ...mem64, size: 0x1000 }]);
		config.write(0x18, 4, 0xffffffff);
		config.write(0x1c, 4, 0xffffffff);
		expect(config.read(0x18, 4)).toBe(0xfffff00c);
		expect(config.read(0x1c, 4)).toBe(0xffffffff);
	});
});

describe("decodedAddress()", () => {
	const at = (bar: GuestBar, command: number, low: number, high = 0, powered = true) => {
		const { config, registers } = guest([bar]);
		config.write(4, 2, command);
		const register = bar.index === 6 ? 0x30 : 0x10 + 4 * bar.index;
		config.write(register, 4, low);
		if (bar.kind === "mem64") config.write(register + 4, 4, high);
		return decodedAddress(registers, bar, powered);
	};

	it("needs the enable bit of its kind", () => {
		expect(at(mem32, 2, 0xfe000000)).toBe(0xfe000000n);
		expect(at(mem32, 1, 0xfe000000)).toBeUndefined();
		expect(at(io, 1, 0xc000)).toBe(0xc000n);
		expect(at(io, 2, 0xc000)).toBeUndefined();
		expect(at(rom, 2, 0xfe000000)).toBeUndefined();
		expect(at(rom, 2, 0xfe000001)).toBe(0xfe000000n);
	});

	it("needs the function in D0", () => {
		expect(at(mem32, 2, 0xfe000000, 0, false)).toBeUndefined();
	});

	it("joins the halves of a 64-bit BAR", () => {
		expect(at(mem64, 2, 0, 0x38)).toBe(0x38_0000_0000n);
		const small = { ...mem64, size: 0x1000 };
		expect(at(small, 2, 0xffff_f000, 1)).toBe(0x1_ffff_f000n);
	});

	it("decodes neither zero nor sizing values", () => {
		expect(at(mem32, 2, 0)).toBeUndefined();
		expect(at(mem32, 2, 0xffffffff)).toBeUndefined();
		expect(at({ ...mem64, size: 0x1000 }, 2, 0xffffffff, 0)).toBeUndefined();
		expect(at({ ...mem64, size: 0x1000 }, 2, 0xfe000000, 0xffffffff)).toBeUndefined();
		expect(at(mem64, 2, 0xffffffff, 0xffffffff)).toBeUndefined();
		expect(at({ ...mem64, size: 2 ** 31 }, 2, 0x80000000, 0)).toBeUndefined();
	});
});
