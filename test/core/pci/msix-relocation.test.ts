import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GuestBar } from "../../../core/machine/machine.ts";
import { relocateMsix } from "../../../core/pci/msix-relocation.ts";
import { assign, MSIX_AT, MSIX_ON, msixControl } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { configSpace, msixBody } from "../support/pci-config.ts";

const bar = (index: number, size: number, kind: GuestBar["kind"] = "mem32"): GuestBar => ({
	index,
	kind,
	size,
	prefetchable: false,
});
const capability = (vectors: number) => ({
	offset: MSIX_AT,
	vectors,
	table: { bar: 0, offset: 0x5200 },
	pba: { bar: 0, offset: 0xd600 },
});

describe("relocateMsix()", () => {
	it("doubles a BAR: 129 vectors of a BAR of 64 KiB go to 0x10000, their pending bits to 0x10810", () => {
		const moved = relocateMsix("bar0", capability(129), [bar(0, 0x10000)], 4096);
		expect(moved).toMatchObject({
			capability: { table: { bar: 0, offset: 0x10000 }, pba: { bar: 0, offset: 0x10810 } },
			bars: [{ index: 0, size: 0x20000, kind: "mem32" }],
		});
	});

	it.each([
		["a BAR that does not exist, with 64 bits where the next one is free", "bar2", "mem64"],
		["a BAR whose neighbour is taken, with 32 bits", "bar3", "mem32"],
		["the last BAR, with 32 bits", "bar5", "mem32"],
	] as const)("makes %s", (_, choice, kind) => {
		const moved = relocateMsix(choice, capability(129), [bar(0, 0x10000), bar(4, 0x1000)], 4096);
		expect(moved).toMatchObject({ capability: { table: { offset: 0 }, pba: { offset: 0x810 } } });
		const made = typeof moved === "string" ? undefined : moved.bars.find((one) => one.index === Number(choice[3]));
		expect(made).toEqual({ index: Number(choice[3]), kind, size: 0x1000, prefetchable: true });
	});

	it.each([
		["the upper half of a 64-bit BAR", "bar1", "it is the upper half of BAR 0"],
		["an I/O BAR", "bar2", "it has I/O ports"],
		["a 32-bit BAR above 1 GiB", "bar3", "it has 32 bits and 0x80000000 bytes already"],
	] as const)("refuses %s", (_, choice, reason) => {
		const bars = [bar(0, 0x10000, "mem64"), bar(2, 0x20, "io"), bar(3, 0x8000_0000)];
		expect(relocateMsix(choice, capability(8), bars, 4096)).toBe(
			`the MSI-X table cannot go to BAR ${choice[3]}: ${reason}`,
		);
	});

	it("finds the cheapest place: a BAR that does not exist, else the smallest", () => {
		const all = [0, 1, 2, 3, 4, 5].map((index) => bar(index, 0x1000 << index));
		const place = (bars: readonly GuestBar[]) => {
			const moved = relocateMsix("auto", capability(8), bars, 4096);
			return typeof moved === "string" ? moved : moved.capability.table;
		};
		expect(place(all.filter(({ index }) => index !== 3))).toEqual({ bar: 3, offset: 0 });
		expect(place(all)).toEqual({ bar: 0, offset: 0x1000 });
		expect(place(all.map((one) => ({ ...one, kind: "io" })))).toBe("no BAR can hold the MSI-X table");
	});

	it("always gives a power of two with table and pending bits inside, on pages of their own", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 1, max: 2048 }),
				fc.integer({ min: 4, max: 30 }),
				fc.constantFrom(0x1000, 0x4000, 0x10000),
				(vectors, bits, page) => {
					const moved = relocateMsix("bar0", capability(vectors), [bar(0, 2 ** bits)], page);
					if (typeof moved === "string") throw new Error(moved);
					const [grown] = moved.bars;
					const { table, pba } = moved.capability;
					expect(Number.isInteger(Math.log2(grown?.size ?? 0))).toBe(true);
					expect(table.offset % page).toBe(0);
					expect(table.offset).toBeGreaterThanOrEqual(2 ** bits);
					expect(pba.offset).toBe(table.offset + 16 * vectors);
					expect(pba.offset + 8 * Math.ceil(vectors / 64)).toBeLessThanOrEqual(grown?.size ?? 0);
				},
			),
		);
	});
});

/** Like a KIOXIA CD8P: 129 vectors in the middle of the registers. */
function nvme(options: { msixMappable?: boolean; pba?: number; choice?: "bar0" | "bar4" | "auto" } = {}) {
	const { msixMappable = false, pba = 0xd600, choice = "bar0" } = options;
	const config = configSpace({
		bars: [0xfe400004],
		capabilities: [[MSIX_AT, 0x11, msixBody(129, [0, 0x5200], [0, pba])]],
	});
	return assign(
		{ config, vectors: 129, regions: { 0: { size: 0x10000, mappable: true, msixMappable } }, irqs: [1, 0, 129, 1, 1] },
		{ msixRelocation: choice },
	);
}
const ranges = (areas: readonly { start: number; end: number }[]) => areas.map(({ start, end }) => [start, end]);

describe("AssignedFunction with msixRelocation", () => {
	it("shows the guest table, pending bits and BAR where they went", () => {
		const { fn } = nvme();
		expect(fn.bar(0)?.size).toBe(0x20000);
		fn.configWrite(0x10, 4, 0xffffffff);
		expect(fn.configRead(0x10, 4)).toBe(0xfffe0004);
		expect(fn.configRead(MSIX_AT + 4, 4)).toBe(0x10000);
		expect(fn.configRead(MSIX_AT + 8, 4)).toBe(0x10810);
	});

	it("MSX-05 decides what to map from the device's own places, and never asks past the device's region", () => {
		const plain = nvme();
		plain.fn.configWrite(4, 2, 2);
		expect(ranges(plain.fn.directAreas(0))).toEqual([
			[0, 0x5000],
			[0x6000, 0x10000],
		]);
		const mappable = nvme({ msixMappable: true });
		expect(ranges(mappable.fn.plan.bars[0]?.mapped ?? [])).toEqual([[0, 0x10000]]);
		// The table's page stays out of the guest's reach even where the kernel would let it in.
		expect(ranges(mappable.fn.directAreas(0))).toEqual([
			[0, 0x5000],
			[0x6000, 0x10000],
		]);
		for (const { device, fn } of [plain, mappable]) {
			device.take();
			for (let offset = 0x10000; offset < 0x20000; offset += 0x100) {
				fn.barRead(0, offset, 4);
				fn.barRead64(0, offset);
				fn.barWrite(0, offset, 4, 0);
				fn.barWrite64(0, offset, 0n);
			}
			for (const call of device.take()) {
				// The pending bits of the device itself, and nothing else.
				expect(call).toMatch(/^read 0 d6|^set|^read 7/);
			}
		}
	});

	it("lets nobody reach the device's own table at its old place", () => {
		const { device, fn } = nvme({ msixMappable: true });
		fn.configWrite(4, 2, 2);
		device.memory[0]?.fill(0x5a);
		device.take();
		expect(fn.barRead(0, 0x5200, 4)).toBe(0xffffffff);
		expect(fn.barRead64(0, 0x5208)).toBe(0xffff_ffff_ffff_ffffn);
		fn.barWrite(0, 0x5200, 4, 1);
		fn.barWrite64(0, 0x5a08, 1n);
		expect(device.take()).toEqual([]);
		expect(device.memory[0]?.subarray(0x5200, 0x5a10).every((byte) => byte === 0x5a)).toBe(true);
		// Registers beside it are still mapped memory.
		expect(fn.barRead(0, 0x51fc, 4)).toBe(0x5a5a5a5a);
	});

	it("delivers messages of the table at its new place, and merges the device's own pending bits", () => {
		const { device, fn, slot } = nvme();
		fn.configWrite(4, 2, 2);
		fn.barWrite(0, 0x10000 + 16 * 128, 4, 0xfee00000);
		fn.barWrite(0, 0x10000 + 16 * 128 + 8, 4, 0x99);
		fn.barWrite(0, 0x10000 + 16 * 128 + 12, 4, 0);
		msixControl(fn, MSIX_ON);
		device.message(2, 128);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee00000=99"]);
		if (device.memory[0]) device.memory[0][0xd600] = 4;
		expect(fn.barRead(0, 0x10810, 4)).toBe(4);
	});

	it("makes a BAR that the device does not have, all of which is ours", () => {
		const { device, fn } = nvme({ choice: "bar4" });
		expect(fn.bar(4)).toMatchObject({ kind: "mem64", size: 0x1000, prefetchable: true });
		fn.configWrite(0x20, 4, 0xffffffff);
		expect(fn.configRead(0x20, 4)).toBe(0xfffff00c);
		expect(fn.configRead(MSIX_AT + 4, 4)).toBe(4);
		device.take();
		fn.barWrite(4, 8, 4, 7);
		expect(fn.barRead(4, 8, 4)).toBe(7);
		expect(fn.barRead(4, 0xff0, 4)).toBe(0xffffffff);
		expect(device.take()).toEqual([]);
	});

	it("helps a device whose pending bits are outside its BAR, which is refused otherwise", () => {
		expect(nvme({ pba: 0x10000 }).fn.barRead(0, 0x10810, 4)).toBe(0);
		const config = configSpace({
			bars: [0xfe400000],
			capabilities: [[MSIX_AT, 0x11, msixBody(129, [0, 0x5200], [0, 0x10000])]],
		});
		const refused = vfioError(() => assign({ config, regions: { 0: { size: 0x10000, mappable: true } } }));
		expect(refused.code).toBe("malformed-msix");
	});

	it("is refused with the reason, and with the words that are valid", () => {
		const wrong = vfioError(() => assign({}, { msixRelocation: "bar2" }));
		expect([wrong.code, wrong.message]).toEqual([
			"invalid-argument",
			"Cannot assign 0000:05:00.0: the MSI-X table cannot go to BAR 2: it has I/O ports",
		]);
		const unknown = vfioError(() => assign({}, { msixRelocation: "bar6" as "bar5" }));
		expect(unknown.message).toContain('one of "off", "auto", "bar0"');
	});

	it("does nothing for a device without MSI-X", () => {
		const { fn } = assign({ config: configSpace({ bars: [0xfe400000] }) }, { msixRelocation: "auto" });
		expect(fn.bar(0)?.size).toBe(0x10000);
	});
});
