import { describe, expect, it } from "vitest";
import { msix } from "../../../kernel-sim/hardware/capabilities.ts";
import type { MsixDescription } from "../../../kernel-sim/hardware/model.ts";
import { bench } from "./fixtures.ts";

const AT = 0x40;
const TABLE = 0x2000;
const PBA = 0x3000;
const ENABLE = 0x8000;
const MASK_ALL = 0x4000;

function msixBench(vectors = 65, places: Partial<MsixDescription> = {}) {
	const where = { table: { bar: 0, offset: TABLE }, pba: { bar: 0, offset: PBA }, ...places };
	const bed = bench({
		interruptPin: 1,
		bars: [{ index: 0, kind: "mem64", size: 0x40000, backing: "registers" }],
		capabilities: [msix({ offset: AT, vectors, ...where })],
	});
	const seen: number[] = [];
	const control = (bits: number) => bed.fn.configWrite(AT + 2, 2, bits);
	const program = (vector: number, mask = 0) => {
		const { address, data } = bed.machine.interrupts.allocateMessage(bed.fn, () => void seen.push(vector));
		const entry = where.table.offset + 16 * vector;
		bed.fn.write64(where.table.bar, entry, address);
		bed.fn.write(where.table.bar, entry + 8, 4, data);
		bed.fn.write(where.table.bar, entry + 12, 4, mask);
	};
	const mask = (vector: number, value: number) => bed.fn.write(0, TABLE + 16 * vector + 12, 4, value);
	return { ...bed, seen, control, program, mask };
}

describe("MSI-X", () => {
	it("starts with every entry masked and empty", () => {
		const { fn } = msixBench(3);
		for (let vector = 0; vector < 3; vector++)
			expect([0, 4, 8, 12].map((offset) => fn.read(0, TABLE + 16 * vector + offset, 4))).toEqual([0, 0, 0, 1]);
	});

	it("sends each vector its own message when it is enabled", () => {
		const { model, seen, control, program } = msixBench();
		program(0);
		program(64);
		expect(model.port?.signal(0)).toBe(false);
		control(ENABLE);
		expect(model.port?.interruptMode).toBe("msix");
		expect(model.port?.signal(64)).toBe(true);
		model.port?.signal(0);
		expect(seen).toEqual([64, 0]);
	});

	it("sets the pending bit of a masked vector, and sends it once when it is unmasked", () => {
		const { fn, model, seen, control, program, mask } = msixBench();
		program(0, 1);
		program(64, 1);
		control(ENABLE);
		for (const vector of [64, 64, 0]) model.port?.signal(vector);
		expect(seen).toEqual([]);
		expect([fn.read64(0, PBA), fn.read64(0, PBA + 8)]).toEqual([1n, 1n]);
		mask(64, 0);
		expect(seen).toEqual([64]);
		expect([fn.read(0, PBA, 4), fn.read(0, PBA + 8, 1)]).toEqual([1, 0]);
		mask(64, 1);
		mask(64, 0);
		expect(seen).toEqual([64]);
	});

	it("holds everything back under the function mask and sends it in order when that is lifted", () => {
		const { fn, model, seen, control, program } = msixBench();
		program(3);
		program(40);
		program(41, 1);
		control(ENABLE | MASK_ALL);
		for (const vector of [41, 40, 3]) model.port?.signal(vector);
		expect([seen, fn.read64(0, PBA)]).toEqual([[], (1n << 41n) | (1n << 40n) | 8n]);
		control(ENABLE);
		expect([seen, fn.read64(0, PBA)]).toEqual([[3, 40], 1n << 41n]);
	});

	it("takes a new message while masked, and sends the pending event with it", () => {
		const { machine, fn, model, seen, control, program, mask } = msixBench();
		program(0, 1);
		control(ENABLE);
		model.port?.signal(0);
		const moved = machine.interrupts.allocateMessage(fn, () => void seen.push(100));
		fn.write(0, TABLE, 4, Number(moved.address));
		fn.write(0, TABLE + 8, 4, moved.data);
		mask(0, 0);
		expect(seen).toEqual([100]);
	});

	it("does not take writes to the pending bits, nor to reserved bits of the table", () => {
		const { fn, mask } = msixBench();
		fn.write64(0, PBA, 0xffffffffffffffffn);
		expect(fn.read64(0, PBA)).toBe(0n);
		mask(0, 0xfffffffe);
		fn.write(0, TABLE, 4, 0x12345677);
		expect([fn.read(0, TABLE + 12, 4), fn.read(0, TABLE, 4)]).toEqual([0, 0x12345674]);
	});

	it("does not show table and pending bits to the model, and the rest of the BAR it does", () => {
		const { fn, model } = msixBench();
		for (const offset of [TABLE, TABLE + 65 * 16 - 4, PBA, PBA + 12]) fn.read(0, offset, 4);
		expect(model.log).toEqual([]);
		for (const offset of [TABLE - 4, TABLE + 65 * 16, PBA + 16]) fn.read(0, offset, 4);
		expect(model.log).toEqual(["read 0 8188 4", "read 0 9232 4", "read 0 12304 4"]);
	});

	it.each([
		[1, 8],
		[64, 8],
		[65, 16],
		[2048, 256],
	])("has a pending bit for each of %i vectors", (vectors, bytes) => {
		const { fn, model } = msixBench(vectors, { pba: { bar: 0, offset: 0x20000 } });
		fn.configRead(0, 4);
		fn.read(0, 0x20000 + bytes - 4, 4);
		expect(model.log).toEqual([]);
		fn.read(0, 0x20000 + bytes, 4);
		expect(model.log).toHaveLength(1);
	});

	it("ignores a vector beyond the table", () => {
		const { machine, model, control } = msixBench(2);
		control(ENABLE);
		expect([model.port?.signal(2), model.port?.signal(-1)]).toEqual([true, true]);
		expect(machine.interrupts.droppedCount).toBe(0);
	});

	it("forgets what was pending when it is disabled", () => {
		const { fn, model, seen, control, program, mask } = msixBench();
		program(0, 1);
		control(ENABLE);
		model.port?.signal(0);
		control(0);
		expect(fn.read(0, PBA, 4)).toBe(0);
		control(ENABLE);
		mask(0, 0);
		expect(seen).toEqual([]);
	});

	it("loses table, pending bits and enable in a reset", () => {
		const { fn, model, control, program } = msixBench();
		program(0);
		control(ENABLE | MASK_ALL);
		model.port?.signal(0);
		fn.reset();
		fn.configWrite(4, 2, 2);
		expect([fn.configRead(AT + 2, 2), fn.read(0, TABLE, 4), fn.read(0, TABLE + 12, 4), fn.read(0, PBA, 4)]).toEqual([
			64, 0, 1, 0,
		]);
	});
});
