import { describe, expect, it } from "vitest";
import { AddressSpace } from "../../../core/machine/mod.ts";
import { FakeFunction } from "./fake-function.ts";

const everywhere = (start: number, size: number) => () => [{ start, end: start + size }];

function place(space: AddressSpace, fn: FakeFunction, base: number, size: number, bar = 0): void {
	space.place(fn, bar, base, size, everywhere(base, size));
}

describe("AddressSpace", () => {
	it("find() decodes first and last byte and nothing beside", () => {
		const space = new AddressSpace(2 ** 52);
		const fn = new FakeFunction();
		place(space, fn, 0xfd00_0000, 0x1000);
		expect(space.find(0xfcff_ffff)).toBeUndefined();
		expect(space.find(0xfd00_0000)).toMatchObject({ function: fn, bar: 0, base: 0xfd00_0000 });
		expect(space.find(0xfd00_0fff)?.function).toBe(fn);
		expect(space.find(0xfd00_1000)).toBeUndefined();
	});

	it("find() works above 4 GiB", () => {
		const space = new AddressSpace(2 ** 52);
		const fn = new FakeFunction();
		place(space, fn, 2 ** 51, 2 ** 33);
		expect(space.find(2 ** 51 + 2 ** 33 - 1)?.function).toBe(fn);
	});

	it("place() lets the BAR that was placed last decode where BARs overlap, and shows the other again when it leaves", () => {
		const space = new AddressSpace(2 ** 52);
		const [below, above] = [new FakeFunction("below"), new FakeFunction("above")];
		place(space, below, 0x1000, 0x4000);
		place(space, above, 0x2000, 0x1000);
		expect([0x1000, 0x2000, 0x3000].map((at) => space.find(at)?.function.name)).toEqual(["below", "above", "below"]);
		expect(space.segments(below, 0)).toEqual([
			{ start: 0x1000, end: 0x2000 },
			{ start: 0x3000, end: 0x5000 },
		]);
		place(space, below, 0x1000, 0x4000);
		expect(space.find(0x2000)?.function.name).toBe("below");
		expect(space.segments(above, 0)).toEqual([]);
		space.remove(below, 0);
		expect(space.find(0x1000)).toBeUndefined();
		expect(space.find(0x2000)?.function.name).toBe("above");
	});

	it("place() moves a BAR: it decodes at one address only", () => {
		const space = new AddressSpace(2 ** 52);
		const fn = new FakeFunction();
		place(space, fn, 0x1000, 0x1000);
		place(space, fn, 0x8000, 0x1000);
		expect(space.find(0x1000)).toBeUndefined();
		expect(space.find(0x8000)?.base).toBe(0x8000);
	});

	it("place() decodes nowhere when the BAR does not lie below the limit", () => {
		const space = new AddressSpace(0x1_0000);
		const fn = new FakeFunction();
		place(space, fn, 0xfff0, 0x20);
		expect(space.find(0xfff0)).toBeUndefined();
		place(space, fn, 0xffe0, 0x20);
		expect(space.find(0xffff)?.function).toBe(fn);
	});

	it("read() and write() pass offset, width and value to the function", () => {
		const space = new AddressSpace(2 ** 52);
		const fn = new FakeFunction();
		place(space, fn, 0x4000, 0x1000, 0);
		expect(space.read(0x4010, 4)).toBe(0x10);
		space.write(0x4022, 2, 0xabcd);
		space.write64(0x4030, 0x1n);
		expect(space.read64(0x4040)).toBe(0x1122_3344_5566_7788n);
		expect(fn.take()).toEqual(["barRead 0 10 4", "barWrite 0 22 2 abcd", "barWrite64 0 30 1", "barRead64 0 40"]);
	});

	it("read() is all ones and write() is dropped where nothing decodes", () => {
		const space = new AddressSpace(2 ** 52);
		expect([space.read(0, 1), space.read(0, 2), space.read(0, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
		expect(space.read64(0)).toBe(0xffff_ffff_ffff_ffffn);
		space.write(0, 4, 1);
		space.write64(0, 1n);
	});

	it("read() and write() split an access that crosses the end of a BAR", () => {
		const space = new AddressSpace(2 ** 52);
		const [left, right] = [new FakeFunction("left"), new FakeFunction("right")];
		place(space, left, 0x1000, 0x1000);
		place(space, right, 0x2000, 0x1000);
		expect(space.read(0x1ffe, 4)).toBe(0x0100_fffe);
		expect(left.take()).toEqual(["barRead 0 ffe 1", "barRead 0 fff 1"]);
		expect(right.take()).toEqual(["barRead 0 0 1", "barRead 0 1 1"]);
		space.write(0x2ffe, 4, 0x4433_2211);
		expect(right.take()).toEqual(["barWrite 0 ffe 1 11", "barWrite 0 fff 1 22"]);
		space.write64(0x2ffc, 0x8877_6655_4433_2211n);
		expect(right.take()).toEqual(["barWrite 0 ffc 4 44332211"]);
		expect(space.read64(0x2ffc)).toBe(0xffff_ffff_0000_0ffcn);
	});
});
