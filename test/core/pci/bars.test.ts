import { describe, expect, it } from "vitest";
import { KernelError } from "../../../core/errors.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import { assign, assignDecoding, nicConfig, TABLE } from "../support/assigned.ts";
import { configSpace } from "../support/pci-config.ts";

describe("AssignedFunction BAR access", () => {
	it("leaves mapped memory alone while the guest has memory decoding off, or the power", () => {
		// Touching it would end a process with SIGBUS.
		const { device, fn } = assignDecoding();
		const touched = () => {
			throw new Error("touched");
		};
		for (const mapping of device.mappings)
			Object.assign(mapping, { read: touched, write: touched, read64: touched, write64: touched });
		expect(device.mappings.size).toBeGreaterThan(0);
		const reach = () => {
			fn.barRead(0, 0, 4);
			fn.barWrite(0, 0, 2, 1);
			fn.barRead64(0, 8);
			fn.barWrite64(0, 8, 1n);
			return device.take().filter((call) => !call.includes(" 7 "));
		};
		fn.configWrite(4, 2, 0x1);
		expect(reach()).toHaveLength(4);
		fn.configWrite(4, 2, 0x2);
		device.writable.add(0x44);
		fn.configWrite(0x44, 2, 0x3);
		expect(reach()).toHaveLength(4);
	});

	it("uses mapped memory, with each access at its width", () => {
		const { device, fn } = assignDecoding();
		fn.barWrite(0, 0x100, 4, 0x44332211);
		expect([1, 2, 4].map((width) => fn.barRead(0, 0x100, width as AccessWidth))).toEqual([0x11, 0x2211, 0x44332211]);
		fn.barWrite64(0, 0x108, 0xfeed_0000_0000_0001n);
		expect(fn.barRead64(0, 0x108)).toBe(0xfeed_0000_0000_0001n);
		expect(device.take()).toEqual([]);
	});

	it("R-01 goes to the kernel for what is not mapped, 64 bits at once where it is 64 bits", () => {
		const { device, fn } = assignDecoding();
		fn.barRead(0, TABLE + 0x800, 4);
		fn.barRead64(0, TABLE + 0x808);
		fn.barWrite64(0, TABLE + 0x808, 1n);
		fn.barWrite(2, 1, 1, 0x5a);
		expect(device.take()).toEqual(["read 0 2800", "read64 0 2808", "write64 0 2808", "write 2 1 5a"]);
	});

	it("goes to the kernel for what is not aligned, which it splits", () => {
		const { device, fn } = assignDecoding();
		fn.barRead(0, 0x101, 2);
		fn.barWrite(0, 0x102, 4, 0);
		fn.barRead64(0, 0x104);
		expect(device.take()).toEqual(["read 0 101", "write 0 102 0", "read64 0 104"]);
	});

	it.each([
		["a BAR that does not exist", 5, 0, 4],
		["past the end", 0, 0x10000, 4],
		["across the end", 0, 0xfffe, 4],
		["before the start", 0, -4, 4],
		["no BAR at all", 77, 0, 1],
		["between bytes", 0, 1.5, 1],
		["three bytes", 0, 0, 3],
	] as const)("answers all ones and drops writes: %s", (_, bar, offset, width) => {
		const { device, fn, reports } = assignDecoding();
		fn.barWrite(bar, offset, width as AccessWidth, 0);
		expect(fn.barRead(bar, offset, width as AccessWidth)).toBe(width === 1 ? 0xff : 0xffffffff);
		expect(fn.barRead64(bar, offset === 0 ? 0x10000 : offset)).toBe(0xffff_ffff_ffff_ffffn);
		expect(device.take()).toEqual([]);
		expect(reports).toEqual([]);
	});

	it("R-03 answers all ones and reports when the kernel refuses", () => {
		const { device, fn, reports } = assignDecoding();
		device.failing = ["read 2", "write 2"];
		expect(fn.barRead(2, 0, 4)).toBe(0xffffffff);
		fn.barWrite(2, 0, 4, 1);
		expect(reports.length).toBe(2);
		expect(reports[0]).toContain("0000:05:00.0");
	});

	it("R-03 answers all ones and reports when mapped memory fails, as with a device that is gone", () => {
		const { device, fn, reports } = assignDecoding();
		const fail = () => {
			throw new KernelError(EIO, "read", "0000:05:00.0");
		};
		for (const mapping of device.mappings)
			Object.assign(mapping, { read: fail, write: fail, read64: fail, write64: fail });
		expect(fn.barRead(0, 0, 2)).toBe(0xffff);
		expect(fn.barRead64(0, 0)).toBe(0xffff_ffff_ffff_ffffn);
		fn.barWrite(0, 0, 4, 1);
		fn.barWrite64(0, 0, 1n);
		expect(reports.length).toBe(4);
	});

	it("suppresses a flood of reports", () => {
		const { device, fn, reports } = assignDecoding();
		device.failing = ["read 2"];
		for (let n = 0; n < 1000; n++) fn.barRead(2, 0, 1);
		expect(reports.length).toBe(32);
		device.fake.clock.advance(1000);
		fn.barRead(2, 0, 1);
		expect(reports[32]).toContain("968 more reports");
	});

	it("maps nothing when mapping is switched off", () => {
		const { device, fn } = assignDecoding({}, { mmap: false });
		expect(device.mappings.size).toBe(0);
		fn.barRead(0, 0, 4);
		expect(device.take()).toEqual(["read 0 0"]);
		expect(fn.directAreas(0)).toEqual([]);
	});

	it("maps a BAR through its table where the kernel allows that, and traps exactly the table's bytes", () => {
		const { device, fn } = assignDecoding({ regions: { 0: { size: 0x10000, mappable: true, msixMappable: true } } });
		fn.barRead(0, TABLE + 0x800, 4);
		fn.barWrite(0, TABLE + 0x800, 4, 7);
		expect(device.take()).toEqual([]);
		fn.barWrite(0, TABLE + 8, 4, 0x77);
		expect(device.memory[0]?.[TABLE + 8]).toBe(0);
		expect(fn.directAreas(0).map(({ start, end, mappingOffset }) => [start, end, mappingOffset])).toEqual([
			[0, 0x2000, 0],
			[0x3000, 0x10000, 0x3000],
		]);
	});

	it("B-04 maps only what the kernel's sparse areas allow", () => {
		const sparseAreas = [{ offset: 0x8000, size: 0x1000 }];
		const { device, fn } = assignDecoding({ regions: { 0: { size: 0x10000, mappable: true, sparseAreas } } });
		fn.barRead(0, 0x8004, 4);
		expect(device.take()).toEqual([]);
		fn.barRead(0, 0x9000, 4);
		expect(device.take()).toEqual(["read 0 9000"]);
	});
});

describe("AssignedFunction BAR placement", () => {
	it("places BARs by address and COMMAND, and takes them out again", () => {
		const { fn, slot } = assign();
		fn.configWrite(0x10, 4, 0xfe000000);
		fn.configWrite(0x18, 4, 0xc000);
		expect(slot.placements).toEqual([]);
		fn.configWrite(4, 2, 2);
		expect(slot.placements).toEqual(["0@fe000000"]);
		fn.configWrite(4, 2, 3);
		expect(slot.placements).toEqual(["0@fe000000", "2@c000"]);
		fn.configWrite(0x10, 4, 0xfd000000);
		expect(slot.placements.slice(2)).toEqual(["0@-", "0@fd000000"]);
		fn.configWrite(4, 1, 0);
		expect(slot.bars).toEqual([undefined, undefined, undefined]);
	});

	it("does not place a BAR while it is sized with decoding on", () => {
		const { fn, slot } = assign();
		fn.configWrite(4, 2, 2);
		fn.configWrite(0x10, 4, 0xffffffff);
		expect(fn.configRead(0x10, 4)).toBe(0xffff0000);
		expect(slot.placements).toEqual([]);
		fn.configWrite(0x10, 4, 0xfe000000);
		expect(slot.bars[0]).toBe(0xfe000000n);
	});

	it("follows the power state that the device really has", () => {
		const { fn, slot, device } = assign();
		device.writable.add(0x44);
		fn.configWrite(0x10, 4, 0xfe000000);
		fn.configWrite(4, 2, 2);
		fn.configWrite(0x44, 2, 3);
		expect(slot.bars[0]).toBeUndefined();
		fn.configWrite(0x44, 2, 0);
		expect(slot.bars[0]).toBe(0xfe000000n);
		device.writable.delete(0x44);
		fn.configWrite(0x44, 2, 3);
		expect(slot.bars[0]).toBe(0xfe000000n);
	});

	it("shows the ROM where its own enable bit and COMMAND say", () => {
		const config = configSpace({});
		const { fn, slot, device } = assign({ config, regions: { 6: { size: 0x8000 } }, irqs: [1] });
		device.memory[6]?.set([0x55, 0xaa, 0x40]);
		expect(fn.bar(6)).toMatchObject({ index: 6, kind: "mem32", size: 0x8000 });
		fn.configWrite(0x30, 4, 0xfe100001);
		fn.configWrite(4, 2, 2);
		expect(slot.bars[6]).toBe(0xfe100000n);
		expect(device.take("bytes 6")).toEqual([]);
		expect(fn.barRead(6, 0, 2)).toBe(0xaa55);
		expect(fn.barRead64(6, 0)).toBe(0x40aa55n);
		fn.barWrite(6, 0, 4, 0);
		expect(fn.barRead(6, 0, 2)).toBe(0xaa55);
		expect(device.take("bytes 6").length).toBe(1);
		expect(fn.barRead(6, 0x7ffe, 4)).toBe(0xffffffff);
	});

	it("O-01 fills what cannot be read of the ROM, and tolerates a bad signature", () => {
		const unreadable = assign({ config: configSpace({}), regions: { 6: { size: 0x1000 } }, irqs: [1] });
		unreadable.device.failing = ["bytes 6"];
		expect(unreadable.fn.barRead(6, 0, 4)).toBe(0xffffffff);
		const blank = assign({ config: configSpace({}), regions: { 6: { size: 0x1000 } }, irqs: [1] });
		expect(blank.fn.barRead(6, 0, 4)).toBe(0);
		expect(blank.reports[0]).toContain("begins with 0x0000");
	});

	it("O-01 has no ROM when it is switched off, or there is none", () => {
		const off = assign({ config: configSpace({}), regions: { 6: { size: 0x1000 } }, irqs: [1] }, { rom: false });
		expect(off.fn.bar(6)).toBeUndefined();
		off.fn.configWrite(0x30, 4, 0xffffffff);
		expect(off.fn.configRead(0x30, 4)).toBe(0);
		expect(off.fn.barRead(6, 0, 4)).toBe(0xffffffff);
		expect(assign({ config: nicConfig() }).fn.bar(6)).toBeUndefined();
	});
});
