import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AccessWidth } from "../../../core/kernel.ts";
import { ConfigRegisters, ConfigSpace } from "../../../core/pci/config-space.ts";
import { load, store } from "../support/fake-vfio-device.ts";

class Hardware {
	readonly bytes = new Uint8Array(256);
	readonly log: string[] = [];
	gone = false;
	read(offset: number, width: AccessWidth): number {
		this.log.push(`read ${offset}/${width}`);
		return this.gone ? 2 ** (8 * width) - 1 : load(this.bytes, offset, width);
	}
	write(offset: number, width: AccessWidth, value: number): void {
		this.log.push(`write ${offset}/${width} ${value.toString(16)}`);
		store(this.bytes, offset, width, value);
	}
}

function space(): { hardware: Hardware; registers: ConfigRegisters; config: ConfigSpace } {
	const hardware = new Hardware();
	const registers = new ConfigRegisters(new Uint8Array(256));
	return { hardware, registers, config: new ConfigSpace(registers, hardware) };
}

describe("ConfigSpace.read()", () => {
	it("C-01 merges bit by bit, and reads the device whenever one bit is the device's", () => {
		const { hardware, registers, config } = space();
		store(hardware.bytes, 0x0c, 4, 0x00801234);
		registers.emulate(0x0e, 1, 0, 0, 0x80);
		expect(config.read(0x0c, 4)).toBe(0x00001234);
		expect(config.read(0x0e, 1)).toBe(0);
		expect(hardware.log).toEqual(["read 12/4", "read 14/1"]);
	});

	it("does not touch the device when every bit is emulated", () => {
		const { hardware, registers, config } = space();
		registers.emulate(0x10, 4, 0xfe000004);
		expect(config.read(0x10, 4)).toBe(0xfe000004);
		expect(config.read(0x12, 2)).toBe(0xfe00);
		expect(hardware.log).toEqual([]);
	});

	it("never caches: each read reaches the device", () => {
		const { hardware, config } = space();
		config.read(6, 2);
		config.read(6, 2);
		expect(hardware.log.length).toBe(2);
	});

	it("C-03 answers all ones when the device does, even where bits are emulated", () => {
		const { hardware, registers, config } = space();
		hardware.gone = true;
		registers.emulate(0x0e, 1, 0, 0, 0x80);
		expect(config.read(0x0c, 4)).toBe(0xffffffff);
		expect(config.read(0x00, 2)).toBe(0xffff);
	});

	it.each([
		["past the end", 256, 1, 0xff],
		["across the end", 255, 2, 0xffff],
		["across a dword", 0x0e, 4, 0xffffffff],
		["negative", -4, 4, 0xffffffff],
		["between bytes", 0.5, 1, 0xff],
		["not a number", Number.NaN, 4, 0xffffffff],
		["three bytes", 0, 3, 0xffffffff],
		["eight bytes", 0, 8, 0xffffffff],
	] as const)("answers all ones to an access that is none: %s", (_, offset, width, ones) => {
		const { hardware, config } = space();
		expect(config.read(offset, width as AccessWidth)).toBe(ones);
		expect(config.write(offset, width as AccessWidth, 1)).toBe(false);
		expect(hardware.log).toEqual([]);
	});
});

describe("ConfigSpace.write()", () => {
	it("C-04 goes to the device first, always and as it is, then to the copy by its masks", () => {
		const { hardware, registers, config } = space();
		registers.emulate(0x10, 4, 0x0000000c, 0xffff0000);
		expect(config.write(0x10, 4, 0xffffffff)).toBe(true);
		expect(hardware.log).toEqual(["write 16/4 ffffffff"]);
		expect(config.read(0x10, 4)).toBe(0xffff000c);
	});

	it("clears write-one-to-clear bits of the copy", () => {
		const { registers, config } = space();
		registers.emulate(0x40, 1, 0xf0);
		registers.w1c[0x40] = 0x30;
		config.write(0x40, 1, 0x10);
		expect(config.read(0x40, 1)).toBe(0xe0);
	});

	it("Z-14 reaches all of an express function's 4096 bytes", () => {
		const hardware = new Hardware();
		const config = new ConfigSpace(new ConfigRegisters(new Uint8Array(4096)), hardware);
		expect(config.write(0xffc, 4, 7)).toBe(true);
		expect(config.read(0xffc, 4)).not.toBe(0xffffffff);
		expect(config.read(0x1000, 4)).toBe(0xffffffff);
	});
});

describe("ConfigSpace", () => {
	it("behaves like a bit-by-bit model under any traffic", () => {
		const access = fc.record({
			offset: fc.integer({ min: -8, max: 70 }),
			width: fc.constantFrom<number>(1, 2, 4, 3),
			value: fc.nat(0xffffffff),
			write: fc.boolean(),
		});
		const bytes = fc.uint8Array({ minLength: 64, maxLength: 64 });
		fc.assert(
			fc.property(bytes, bytes, bytes, bytes, fc.array(access), (device, cfg, wmask, emu, traffic) => {
				const hardware = new Hardware();
				const registers = new ConfigRegisters(cfg);
				registers.wmask.set(wmask);
				registers.emu.set(emu);
				// What reads all ones is a device that is gone; this one is there.
				hardware.bytes.set(device.map((byte) => byte & 0x7f));
				const config = new ConfigSpace(registers, hardware);
				const copy = [...cfg];
				const real = [...hardware.bytes.subarray(0, 64)];
				for (const { offset, width, value, write } of traffic) {
					const valid = width !== 3 && offset >= 0 && (offset % 4) + width <= 4 && offset < 64;
					const safe = value & 0x7f7f7f7f;
					if (write) {
						config.write(offset, width as AccessWidth, safe);
						if (!valid) continue;
						for (let i = 0; i < width; i++) {
							const byte = (safe >>> (8 * i)) & 0xff;
							real[offset + i] = byte;
							const mask = wmask[offset + i] as number;
							copy[offset + i] = ((copy[offset + i] as number) & ~mask) | (byte & mask);
						}
					} else {
						let expected = 0;
						for (let i = width - 1; i >= 0; i--) {
							const mask = emu[offset + i] ?? 0;
							const byte = ((copy[offset + i] ?? 0) & mask) | ((real[offset + i] ?? 0) & ~mask & 0xff);
							expected = expected * 256 + byte;
						}
						if (!valid) expected = width === 3 ? 0xffffffff : 2 ** (8 * width) - 1;
						expect(config.read(offset, width as AccessWidth)).toBe(expected);
					}
				}
			}),
		);
	});
});
