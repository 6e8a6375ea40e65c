import { describe, expect, it } from "vitest";
import { isEmulated, placeholderRom } from "../../../kernel-sim/hardware/emulated.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { E1000e } from "../../../kernel-sim/hardware/models/mod.ts";
import { describeConfig } from "../../../kernel-sim/hardware/raw-config.ts";

/** The registers of an endpoint of QEMU's, with an MSI capability at 0x40; another subsystem makes it real hardware. */
function registers(subsystem: readonly number[] = [0xf4, 0x1a, 0x00, 0x11]): Uint8Array {
	const config = new Uint8Array(256);
	config.set([0x34, 0x12, 0xe8, 0x11, 0x03, 0x01, 0x10, 0x00]);
	config.set(subsystem, 0x2c);
	config[0x34] = 0x40;
	config.set([0x05, 0x00, 0x80, 0x00], 0x40);
	return config;
}

describe("isEmulated()", () => {
	it("knows QEMU's functions by their subsystem", () => {
		expect(isEmulated(describeConfig(registers()))).toBe(true);
		expect(isEmulated(describeConfig(registers([0x86, 0x80, 0x01, 0xa0])))).toBe(false);
	});
});

describe("markEmulated()", () => {
	const read = (fn: PciFunction, offset: number) => fn.configRead(offset, 4).toString(16);

	it("makes storage of bytes that no capability claims", () => {
		const fn = new PciFunction(describeConfig(registers()));
		for (const offset of [0x50, 0xfc]) {
			fn.configWrite(offset, 4, 0x12345678);
			expect(read(fn, offset)).toBe("12345678");
		}
		fn.configWrite(0x40, 4, 0xffff0000);
		expect(read(fn, 0x40) === "12345678").toBe(false);
	});

	it("takes parity and the latency timer away", () => {
		const fn = new PciFunction(describeConfig(registers()));
		fn.configWrite(0x04, 2, 0xffff);
		fn.configWrite(0x0d, 1, 0xff);
		expect([fn.configRead(0x04, 2), fn.configRead(0x0d, 1)]).toEqual([0x0507, 0]);
	});

	it("leaves other hardware alone", () => {
		const fn = new PciFunction(describeConfig(registers([0x86, 0x80, 0x01, 0xa0])));
		fn.configWrite(0x50, 4, 0x12345678);
		fn.configWrite(0x04, 2, 0xffff);
		expect([read(fn, 0x50), fn.configRead(0x04, 2)]).toEqual(["0", 0x0547]);
	});
});

describe("placeholderRom()", () => {
	it("begins with a signature and has a data structure of its function", () => {
		const rom = placeholderRom(describeConfig(registers()), 0x10000);
		expect([...rom.subarray(0, 4)]).toEqual([0x55, 0xaa, 64, 0xe9]);
		expect(rom.length).toBe(64 * 512);
		expect(String.fromCharCode(...rom.subarray(0x1c, 0x20))).toBe("PCIR");
		expect([...rom.subarray(0x20, 0x24)]).toEqual([0x34, 0x12, 0xe8, 0x11]);
		expect(rom[0x1c + 0x15]).toBe(0x80);
	});
});

describe("E1000e", () => {
	it("shows its registers through its I/O ports", () => {
		const model = new E1000e();
		expect([model.read(2, 0, 4), model.read(2, 4, 4)]).toEqual([0, 0x00140241]);
		model.write(2, 0, 4, 8);
		expect([model.read(2, 0, 4), model.read(2, 4, 4), model.read(0, 8, 4)]).toEqual([8, 0x00080283, 0x00080283]);
		model.write(2, 4, 4, 5);
		expect(model.read(0, 8, 4)).toBe(5);
	});

	it("reset() brings them back", () => {
		const model = new E1000e();
		model.write(0, 0, 4, 0);
		model.reset();
		expect(model.read(0, 0, 4)).toBe(0x00140241);
	});
});
