import { describe, expect, it } from "vitest";
import { struct } from "../../../core/uapi/struct.ts";

describe("struct()", () => {
	it("aligns fields and the whole as C does", () => {
		const layout = struct({ a: "u8", b: "u32", c: "u8", d: "u64", e: "u16" });
		expect([layout.offsets, layout.size]).toEqual([{ a: 0, b: 4, c: 8, d: 16, e: 24 }, 32]);
	});
	it("takes offsets where a header has a hole or a union", () => {
		const layout = struct({ a: "u32", b: ["u32", 12], c: ["s32", 12] });
		expect([layout.offsets, layout.size]).toEqual([{ a: 0, b: 12, c: 12 }, 16]);
		const view = layout.create();
		view.c = -1;
		expect(view.b).toBe(0xffff_ffff);
	});
	it("takes a field of any name, such as data", () => {
		const view = struct({ data: "u64", constructor: "u8" }).create();
		view.data = 5n;
		view.constructor = 7;
		expect([view.data, view.constructor, view.bytes[0], view.bytes[8]]).toEqual([5n, 7, 5, 7]);
	});
	it("view() is a window on bytes that exist", () => {
		const layout = struct({ a: "u16", b: "u16" });
		const bytes = new Uint8Array(8);
		layout.view(bytes, 4).b = 0x1234;
		expect([...bytes]).toEqual([0, 0, 0, 0, 0, 0, 0x34, 0x12]);
	});
	it("view() works on bytes that start inside a buffer", () => {
		const layout = struct({ a: "u32" });
		const buffer = new Uint8Array(12);
		layout.view(buffer.subarray(4), 4).a = 0x01020304;
		expect([...buffer.slice(8)]).toEqual([4, 3, 2, 1]);
	});
	it.each([-1, 1, 5])("view() refuses offset %i where the structure does not fit", (offset) => {
		expect(() => struct({ a: "u32" }).view(new Uint8Array(4), offset)).toThrow(RangeError);
	});
});
