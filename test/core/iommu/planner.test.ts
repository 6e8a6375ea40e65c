import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lockedBytes } from "../../../core/iommu/memory-map.ts";
import { type PlannerLimits, planMappings } from "../../../core/iommu/planner.ts";
import type { GuestMemoryRegion } from "../../../core/machine/machine.ts";
import { memoryAt, region } from "../support/guest-memory.ts";

const LIMITS: PlannerLimits = {
	pageSize: 0x1000n,
	iovaRanges: [
		{ start: 0n, end: 0xfedf_ffffn },
		{ start: 0xfef0_0000n, end: 0x7f_ffff_ffffn },
	],
	dmaAvail: 65535,
};
const plan = (regions: readonly GuestMemoryRegion[], limits: Partial<PlannerLimits> = {}) =>
	planMappings(regions, { ...LIMITS, ...limits });
const shape = (regions: readonly GuestMemoryRegion[], limits?: Partial<PlannerLimits>) =>
	plan(regions, limits).map.map(({ iova, size }) => [iova, size]);
const reasons = (regions: readonly GuestMemoryRegion[], limits?: Partial<PlannerLimits>) =>
	plan(regions, limits).skipped.map(({ reason, error, fatal }) => [reason, error?.code, fatal]);

describe("planMappings()", () => {
	it("D-07 maps each region, in address order, read-only ones without write", () => {
		const rom = region(0xf_0000n, 0x10000, { readOnly: true });
		const ram = region(0n, 0xa_0000);
		expect(plan([rom, ram])).toEqual({
			map: [
				{ iova: 0n, vaddr: 0x7000_0000_0000n, size: 0xa_0000n, write: true, kind: "ram", regions: [ram] },
				{ iova: 0xf_0000n, vaddr: 0x7000_0000_0000n, size: 0x1_0000n, write: false, kind: "ram", regions: [rom] },
			],
			skipped: [],
		});
	});
	it("D-04 rounds the start up and the end down, and moves the backing along", () => {
		const [mapping] = plan([region(0x1800n, 0x3000)]).map;
		expect(mapping).toMatchObject({ iova: 0x2000n, size: 0x2000n, vaddr: 0x7000_0000_1000n });
	});
	it("D-05 adds the region's offset in its memory", () => {
		const [mapping] = plan([region(0n, 0x1000, { memory: memoryAt(0x8000n, 0x5000), offset: 0x4000 })]).map;
		expect(mapping?.vaddr).toBe(0xc000n);
	});
	it.each([
		["less than a page", region(0x1000n, 0xfff), "empty", undefined, false],
		["a page across two", region(0x1800n, 0x1000), "empty", undefined, false],
		["bit 63", region(1n << 63n, 0x1000), "bit-63", undefined, false],
		["a BAR below a page", region(0x1000n, 0x100, { kind: "device" }), "device-alignment", undefined, false],
		["an unaligned BAR", region(0x1100n, 0x1000, { kind: "device" }), "device-alignment", undefined, false],
		[
			"another place within the page",
			region(0x1100n, 0x4000, { memory: memoryAt(0x2000n, 0x4000) }),
			"misaligned",
			"misaligned-memory",
			false,
		],
		["RAM in the interrupts' range", region(0xfee0_0000n, 0x1000), "out-of-range", "iova-out-of-range", true],
		["RAM across the interrupts' range", region(0xfe00_0000n, 0x200_0000), "out-of-range", "iova-out-of-range", true],
		["RAM above the last range", region(0x7f_ffff_f000n, 0x2000), "out-of-range", "iova-out-of-range", true],
		[
			"a BAR above the last range",
			region(0x80_0000_0000n, 0x1000, { kind: "device" }),
			"out-of-range",
			"iova-out-of-range",
			false,
		],
	] as const)("skips %s", (_what, one, reason, code, fatal) => {
		expect(reasons([one])).toEqual([[reason, code, fatal]]);
		expect(shape([one])).toEqual([]);
	});
	it("names the numbers and the ranges of what is out of range", () => {
		const [skipped] = plan([region(0xfee0_0000n, 0x1000)]).skipped;
		expect(skipped?.error?.message).toBe(
			"Cannot map 0xfee00000-0xfee00fff for DMA: the IOMMU maps 0x0-0xfedfffff, 0xfef00000-0x7fffffffff, and a mapping lies in one of these",
		);
	});
	it("asks no questions about ranges that the kernel does not tell", () => {
		expect(reasons([region(0xfee0_0000n, 0x1000)], { iovaRanges: undefined })).toEqual([]);
	});
	it("maps the last page of a range", () => {
		expect(shape([region(0x7f_ffff_f000n, 0x1000)])).toEqual([[0x7f_ffff_f000n, 0x1000n]]);
	});
	it("refuses what overlaps a region before it", () => {
		expect(reasons([region(0n, 0x3000), region(0x2000n, 0x2000)])).toEqual([
			["overlapping", "overlapping-memory", true],
		]);
	});

	describe("merging", () => {
		const memory = memoryAt(0x10_0000n, 0x10000);
		const lifetime = {};
		const part = (guestAddress: bigint, offset: number, more: Partial<GuestMemoryRegion> = {}) =>
			region(guestAddress, 0x1000, { memory, offset, lifetime, ...more });
		it("makes one mapping of neighbours that are removed together", () => {
			const regions = [part(0x1000n, 0x1000), part(0x2000n, 0x2000), part(0n, 0)];
			expect(shape(regions)).toEqual([[0n, 0x3000n]]);
			expect(plan(regions).map[0]?.regions).toHaveLength(3);
		});
		it("gains the page that lies in two regions", () => {
			const a = region(0n, 0x1800, { memory, lifetime });
			const b = region(0x1800n, 0x1800, { memory, offset: 0x1800, lifetime });
			expect(shape([a, b])).toEqual([[0n, 0x3000n]]);
			expect(shape([{ ...a, lifetime: {} }, b])).toEqual([
				[0n, 0x1000n],
				[0x2000n, 0x1000n],
			]);
		});
		it.each([
			["no lifetime is known", part(0x1000n, 0x1000, { lifetime: undefined } as never)],
			["lifetimes differ", part(0x1000n, 0x1000, { lifetime: {} })],
			["the memory differs", part(0x1000n, 0x1000, { memory: memoryAt(0x10_0000n, 0x10000) })],
			["the memory does not go on", part(0x1000n, 0x2000)],
			["there is a hole", part(0x2000n, 0x2000)],
			["one is read-only", part(0x1000n, 0x1000, { readOnly: true })],
			["one is a BAR", part(0x1000n, 0x1000, { kind: "device" })],
		])("does not merge where %s", (_why, second) => {
			expect(shape([part(0n, 0), second])).toHaveLength(2);
		});
	});

	describe("DMA entries", () => {
		const ram = [region(0n, 0x1000), region(0x2000n, 0x1000)];
		const bars = [0x8000_0000n, 0x9000_0000n].map((address) => region(address, 0x1000, { kind: "device" }));
		it("says how many are needed and how many there are when RAM does not fit", () => {
			const { map, skipped } = plan(ram, { dmaAvail: 1 });
			expect(map).toEqual([]);
			expect(skipped[0]).toMatchObject({ reason: "no-entries", fatal: true });
			expect(skipped[0]?.error?.message).toBe(
				"Cannot map memory for DMA: 2 mappings are needed, and the kernel allows 1 more",
			);
		});
		it("leaves out BARs for RAM's sake", () => {
			expect(shape([...bars, ...ram], { dmaAvail: 3 })).toHaveLength(3);
			expect(reasons([...bars, ...ram], { dmaAvail: 3 })).toEqual([["no-entries", "dma-entries-exhausted", false]]);
		});
	});

	it("lockedBytes() counts RAM, and not BARs", () => {
		expect(lockedBytes(plan([region(0n, 0x3000), region(0x8000_0000n, 0x1000, { kind: "device" })]))).toBe(0x3000n);
	});

	it("maps exactly the whole pages of guest memory, each to its own byte", () => {
		const page = 16; // small pages, so that an oracle can look at every byte
		const memories = [memoryAt(0x400n, 4096), memoryAt(0x8000n, 4096)];
		const lifetimes = [undefined, {}, {}];
		const one = fc.record({
			gap: fc.integer({ min: 0, max: 20 }),
			length: fc.integer({ min: 1, max: 70 }),
			memory: fc.integer({ min: 0, max: 1 }),
			continued: fc.boolean(),
			shift: fc.constantFrom(0, 0, 0, 3),
			lifetime: fc.integer({ min: 0, max: 2 }),
			readOnly: fc.boolean(),
		});
		fc.assert(
			fc.property(fc.array(one, { maxLength: 12 }), (parts) => {
				const regions: GuestMemoryRegion[] = [];
				let at = 0;
				for (const { gap, length, memory, continued, shift, lifetime, readOnly } of parts) {
					const last = regions.at(-1);
					at += continued ? 0 : gap;
					const lives = lifetimes[lifetime];
					regions.push({
						guestAddress: BigInt(at),
						length,
						memory: continued && last ? last.memory : (memories[memory] as (typeof memories)[0]),
						offset: continued && last ? last.offset + last.length : (at % page) + shift,
						readOnly,
						kind: "ram",
						...(lives ? { lifetime: lives } : {}),
					});
					at += length;
				}
				const result = planMappings(regions, { pageSize: BigInt(page), iovaRanges: undefined, dmaAvail: 1000 });
				// The oracle: for each guest byte, the host byte behind it and the region it is in.
				const host = new Map<number, { vaddr: number; region: GuestMemoryRegion }>();
				for (const region of regions)
					for (let n = 0; n < region.length; n++)
						host.set(Number(region.guestAddress) + n, {
							vaddr: Number(region.memory.address) + region.offset + n,
							region,
						});
				const mapped = new Set<number>();
				for (const { iova, vaddr, size, regions: members, write } of result.map) {
					expect([iova % BigInt(page), vaddr % BigInt(page), size % BigInt(page), size > 0n]).toEqual([
						0n,
						0n,
						0n,
						true,
					]);
					for (let n = 0; n < Number(size); n++) {
						const address = Number(iova) + n;
						const behind = host.get(address);
						expect(behind?.vaddr).toBe(Number(vaddr) + n);
						expect(members).toContain(behind?.region);
						expect(write).toBe(!behind?.region.readOnly);
						expect(mapped.has(address)).toBe(false);
						mapped.add(address);
					}
					if (members.length > 1) for (const member of members) expect(member.lifetime).toBe(members[0]?.lifetime);
				}
				// Every page that lies whole in one aligned region is mapped.
				for (const region of regions) {
					const start = Number(region.guestAddress);
					if ((start - Number(region.memory.address) - region.offset) % page !== 0) continue;
					for (let first = Math.ceil(start / page) * page; first + page <= start + region.length; first += page)
						expect(mapped.has(first)).toBe(true);
				}
			}),
		);
	});
});
