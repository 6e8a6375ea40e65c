import { describe, expect, it } from "vitest";
import { planMappings } from "../../../core/iommu/planner.ts";
import { assign } from "../support/assigned.ts";
import { configSpace, msixBody } from "../support/pci-config.ts";

function small(size: number, options: { mappable?: boolean; pageSize?: number; regionSize?: number } = {}) {
	const { mappable = true, pageSize = 4096, regionSize = size } = options;
	const config = configSpace({ bars: [0xfe400000, 0xfe500000] });
	const regions = { 0: { size: regionSize, mappable }, 1: { size: 0x1000, mappable: true } };
	return assign({ config, regions }, { pageSize });
}
const place = (fn: ReturnType<typeof small>["fn"], address: number) => {
	fn.configWrite(0x10, 4, address);
	fn.configWrite(4, 2, 2);
};
const ends = (fn: ReturnType<typeof small>["fn"]) => fn.directAreas(0).map(({ start, end }) => [start, end]);

describe("a BAR smaller than a page", () => {
	it("SUB-02 is a whole page to map while it begins one, and itself otherwise", () => {
		const { fn, slot } = small(128);
		expect(ends(fn)).toEqual([[0, 128]]);
		place(fn, 0x41004600);
		expect(ends(fn)).toEqual([[0, 128]]);
		slot.changes.length = 0;
		place(fn, 0x41005000);
		expect(ends(fn)).toEqual([[0, 4096]]);
		expect(slot.changes).toEqual([0]);
		expect(slot.bars[0]).toBe(0x41005000n);
		// The BAR itself is no larger: what else is in the page decodes its own addresses.
		expect(fn.bar(0)?.size).toBe(128);
		expect(fn.barRead(0, 128, 4)).toBe(0xffffffff);
		place(fn, 0x41004600);
		expect(ends(fn)).toEqual([[0, 128]]);
		expect(slot.changes).toEqual([0, 0]);
	});

	it("is no page for its peers, and not mapped for them, without a word", () => {
		const { fn } = small(128);
		expect(fn.peerRegions(0)).toEqual([]);
		place(fn, 0x41005000);
		const regions = fn.peerRegions(0);
		expect(regions.map(({ guestAddress, length }) => [guestAddress, length])).toEqual([[0x41005000n, 128]]);
		const limits = { pageSize: 4096n, iovaRanges: undefined, dmaAvail: 8 };
		expect(planMappings(regions, limits)).toMatchObject({
			map: [],
			skipped: [{ reason: "device-alignment", error: undefined }],
		});
		fn.unplug();
		expect(fn.peerRegions(0)).toEqual([]);
	});

	it("is itself again when the guest stops decoding, and a page again when it goes on", () => {
		const { fn } = small(0x800);
		place(fn, 0x41005000);
		fn.configWrite(4, 2, 0);
		expect(ends(fn)).toEqual([[0, 0x800]]);
		fn.configWrite(4, 2, 2);
		expect(ends(fn)).toEqual([[0, 0x1000]]);
	});

	it("goes by the host's page", () => {
		const { fn } = small(0x4000, { pageSize: 0x10000 });
		place(fn, 0x41004000);
		expect(ends(fn)).toEqual([[0, 0x4000]]);
		place(fn, 0x41010000);
		expect(ends(fn)).toEqual([[0, 0x10000]]);
	});

	it("SUB-03 is trapped at any width where the kernel does not map it", () => {
		const { device, fn } = small(0x1000, { mappable: false, pageSize: 0x10000 });
		place(fn, 0x41010000);
		expect(ends(fn)).toEqual([]);
		device.take();
		for (const width of [1, 2, 4] as const) {
			fn.barWrite(0, 8, width, 0x5a);
			expect(fn.barRead(0, 8, width)).toBe(0x5a);
		}
		fn.barWrite64(0, 16, 7n);
		expect(fn.barRead64(0, 16)).toBe(7n);
		expect(device.take("map")).toEqual([]);
	});

	it("stays as it is when it is a page or more, has a table in it, or is larger than what is behind it", () => {
		const page = small(0x1000);
		place(page.fn, 0x41005000);
		expect(ends(page.fn)).toEqual([[0, 0x1000]]);
		const odd = small(0x100, { regionSize: 0xc0 });
		place(odd.fn, 0x41005000);
		expect(ends(odd.fn).every(([, end]) => (end ?? 0) <= 0x100)).toBe(true);
		const config = configSpace({ bars: [0xfe400000], capabilities: [[0x70, 0x11, msixBody(2, [0, 0], [0, 0x80])]] });
		const table = assign({ config, regions: { 0: { size: 0x100, mappable: true, msixMappable: true } } });
		place(table.fn, 0x41005000);
		expect(ends(table.fn)).toEqual([]);
	});
});
