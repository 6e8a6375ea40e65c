import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planBar } from "../../../core/pci/bar-areas.ts";
import { mappableAreas, without } from "../../../core/pci/msix-areas.ts";

const K = 1024;

describe("mappableAreas()", () => {
	it.each([
		[
			"64K, table at 0x5200, 129 vectors",
			64 * K,
			4 * K,
			0x5200,
			129,
			[
				[0, 0x5000],
				[0x6000, 0x10000],
			],
		],
		["16K, table at 0, 16 vectors", 16 * K, 4 * K, 0, 16, [[0x1000, 0x4000]]],
		["16K, table at 0x3000, 64 vectors", 16 * K, 4 * K, 0x3000, 64, [[0, 0x3000]]],
		["4K, table at 0", 4 * K, 4 * K, 0, 16, []],
		["64K with 64K pages", 64 * K, 64 * K, 0, 16, []],
		[
			"16K, unaligned table across a page",
			16 * K,
			4 * K,
			0x1ff0,
			2,
			[
				[0, 0x1000],
				[0x3000, 0x4000],
			],
		],
		["a table that fills the BAR", 32 * K, 4 * K, 0, 2048, []],
	] as const)("B-03 leaves the MSI-X table's pages out: %s", (_, size, pageSize, offset, vectors, expected) => {
		const areas = mappableAreas({ size, pageSize, table: { offset, vectors } });
		expect(areas.map(({ start, end }) => [start, end])).toEqual(expected);
	});

	it("maps all of a BAR without a table", () => {
		expect(mappableAreas({ size: 0x10000, pageSize: 0x1000 })).toEqual([{ start: 0, end: 0x10000 }]);
	});

	it("maps a BAR that is smaller than a page as a whole", () => {
		expect(mappableAreas({ size: 0x100, pageSize: 0x1000 })).toEqual([{ start: 0, end: 0x100 }]);
	});

	it("maps only what the kernel's sparse areas allow, page aligned and merged", () => {
		const sparse = [
			{ offset: 0x8000, size: 0x2000 },
			{ offset: 0x1000, size: 0x1000 },
			{ offset: 0x2000, size: 0x1800 },
			{ offset: 0x6100, size: 0x200 },
		];
		expect(mappableAreas({ size: 0x10000, pageSize: 0x1000, sparse })).toEqual([
			{ start: 0x1000, end: 0x3000 },
			{ start: 0x8000, end: 0xa000 },
		]);
	});

	it("takes the table out of sparse areas as well", () => {
		const sparse = [{ offset: 0, size: 0x4000 }];
		expect(mappableAreas({ size: 0x8000, pageSize: 0x1000, sparse, table: { offset: 0x1000, vectors: 4 } })).toEqual([
			{ start: 0, end: 0x1000 },
			{ start: 0x2000, end: 0x4000 },
		]);
	});
});

describe("without()", () => {
	it("does nothing when the hole is outside", () => {
		expect(without([{ start: 4, end: 8 }], { start: 8, end: 12 })).toEqual([{ start: 4, end: 8 }]);
		expect(without([{ start: 4, end: 8 }], { start: 0, end: 4 })).toEqual([{ start: 4, end: 8 }]);
	});
});

describe("planBar()", () => {
	const geometry = fc
		.record({
			sizeBits: fc.integer({ min: 4, max: 24 }),
			pageBits: fc.constantFrom(12, 14, 16),
			vectors: fc.integer({ min: 1, max: 2048 }),
			place: fc.double({ min: 0, max: 1, noNaN: true }),
			msixMappable: fc.boolean(),
			sparse: fc.option(
				fc.array(fc.record({ offset: fc.nat(1 << 20), size: fc.integer({ min: 1, max: 1 << 20 }) }), { maxLength: 4 }),
				{ nil: undefined },
			),
		})
		.filter(({ sizeBits, vectors }) => vectors * 16 <= 2 ** sizeBits);

	it("tiles any BAR, keeps the table trapped and mapped areas page aligned", () => {
		fc.assert(
			fc.property(geometry, ({ sizeBits, pageBits, vectors, place, msixMappable, sparse }) => {
				const size = 2 ** sizeBits;
				const page = 2 ** pageBits;
				const offset = Math.floor(((size - vectors * 16) * place) / 8) * 8;
				const plan = planBar(
					{ index: 2, kind: "mem32", size, prefetchable: false },
					{ size, mappable: true, msixMappable, sparseAreas: sparse?.filter((a) => a.offset + a.size <= size) },
					{ offset: 0x50, vectors, table: { bar: 2, offset }, pba: { bar: 3, offset: 0 } },
					true,
					page,
					true,
				);
				let at = 0;
				for (const area of plan.areas) {
					expect(area.start).toBe(at);
					expect(area.end).toBeGreaterThan(area.start);
					at = area.end;
					if (area.access === "trap") continue;
					expect(area.start % page === 0 && (area.end % page === 0 || area.end === size)).toBe(true);
					// Nothing of the table, and nothing on its pages.
					const tableStart = Math.floor(offset / page) * page;
					const tableEnd = Math.ceil((offset + vectors * 16) / page) * page;
					expect(area.end <= tableStart || area.start >= tableEnd).toBe(true);
				}
				expect(at).toBe(size);
				expect(plan.areas.some((area) => area.reason === "MSI-X table")).toBe(true);
			}),
		);
	});

	it("gives a reason for what is trapped", () => {
		const bar = { index: 0, kind: "io", size: 32, prefetchable: false } as const;
		const region = { size: 32, mappable: false, msixMappable: false, sparseAreas: undefined };
		expect(planBar(bar, region, undefined, false, 4096, true).areas).toEqual([
			{ start: 0, end: 32, access: "trap", reason: "I/O ports" },
		]);
		expect(planBar({ ...bar, kind: "mem32" }, region, undefined, false, 4096, true).areas[0]?.reason).toBe(
			"the kernel does not map it",
		);
		expect(
			planBar({ ...bar, kind: "mem32" }, { ...region, mappable: true }, undefined, false, 4096, false).areas[0]?.reason,
		).toBe("mapping is switched off");
	});

	it("maps all of a BAR whose table the kernel lets us map, and still gives a VMM none of the table's page", () => {
		const plan = planBar(
			{ index: 0, kind: "mem32", size: 0x4000, prefetchable: false },
			{ size: 0x4000, mappable: true, msixMappable: true, sparseAreas: undefined },
			{ offset: 0x50, vectors: 8, table: { bar: 0, offset: 0x2000 }, pba: { bar: 0, offset: 0x2800 } },
			true,
			4096,
			true,
		);
		expect(plan.mapped).toEqual([{ start: 0, end: 0x4000 }]);
		expect(plan.areas.map(({ start, access }) => [start, access])).toEqual([
			[0, "mmap"],
			[0x2000, "trap"],
			[0x3000, "mmap"],
		]);
	});
});
