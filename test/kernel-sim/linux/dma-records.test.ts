import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ProcessMemory } from "../../../kernel-sim/linux/address-space.ts";
import { DmaRecord, DmaRecords } from "../../../kernel-sim/linux/vfio/dma-records.ts";
import { insideOneRange, usableRanges } from "../../../kernel-sim/linux/vfio/iova-ranges.ts";

const owner = { memory: new ProcessMemory(0n), memlock: 0, lockedPages: 0, capable: () => true };

describe("DmaRecords", () => {
	it("finds what a search through all of them finds", () => {
		const range = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 12 }));
		fc.assert(
			fc.property(fc.array(fc.tuple(fc.boolean(), range), { maxLength: 40 }), (steps) => {
				const records = new DmaRecords();
				let naive: DmaRecord[] = [];
				for (const [add, [start, length]] of steps) {
					const iova = BigInt(start);
					const last = BigInt(start + length - 1);
					const touching = naive.filter((record) => record.iova <= last && record.last >= iova);
					expect(records.touching(iova, last)).toEqual(touching);
					expect(records.first(iova, last)).toBe(touching[0]);
					const cut = touching.some((record) => record.iova < iova || record.last > last);
					expect(records.cuts(iova, last)).toBe(cut);
					if (add && touching.length === 0) {
						const record = new DmaRecord(iova, BigInt(length), 0n, 3, owner);
						records.add(record);
						naive = [...naive, record].sort((a, b) => Number(a.iova - b.iova));
					} else if (!add) {
						for (const record of touching) records.remove(record);
						naive = naive.filter((record) => !touching.includes(record));
					}
					expect(records.all).toEqual(naive);
					expect(records.count).toBe(naive.length);
				}
			}),
		);
	});
});

describe("usableRanges()", () => {
	const reserve = (start: bigint, end: bigint, kind: "reserved" | "direct-relaxable" = "reserved") => ({
		start,
		end,
		kind,
	});
	it.each([
		["nothing reserved", [], [[0n, 0xffffn]]],
		[
			"a hole",
			[reserve(0x100n, 0x1ffn)],
			[
				[0n, 0xffn],
				[0x200n, 0xffffn],
			],
		],
		["the start", [reserve(0n, 0xfffn)], [[0x1000n, 0xffffn]]],
		["the end and beyond", [reserve(0xf000n, 0x1ffffn)], [[0n, 0xefffn]]],
		["beyond", [reserve(0x10000n, 0x1ffffn)], [[0n, 0xffffn]]],
		["everything", [reserve(0n, 0xffffffn)], []],
		[
			"overlapping ones",
			[reserve(0x100n, 0x2ffn), reserve(0x200n, 0x3ffn)],
			[
				[0n, 0xffn],
				[0x400n, 0xffffn],
			],
		],
		["a relaxable one", [reserve(0x100n, 0x1ffn, "direct-relaxable")], [[0n, 0xffffn]]],
	])("leaves out %s", (_, reserved, expected) => {
		const ranges = usableRanges(16, reserved);
		expect(ranges.map(({ start, end }) => [start, end])).toEqual(expected);
	});

	it("insideOneRange() does not take a mapping across a hole", () => {
		const ranges = usableRanges(16, [reserve(0x100n, 0x1ffn)]);
		expect(insideOneRange(ranges, 0n, 0xffn)).toBe(true);
		expect(insideOneRange(ranges, 0n, 0x100n)).toBe(false);
		expect(insideOneRange(ranges, 0xffn, 0x200n)).toBe(false);
		expect(insideOneRange(ranges, 0x200n, 0xffffn)).toBe(true);
	});
});
