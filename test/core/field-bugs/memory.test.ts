// What users of other programs met with DMA, limits and security; the ids are those of the collection.
import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { IoAddressSpace } from "../../../core/device/io-address-space.ts";
import { KernelError } from "../../../core/errors.ts";
import { GuestMemoryMapper, type MapReport } from "../../../core/iommu/memory-map.ts";
import { planMappings } from "../../../core/iommu/planner.ts";
import { EINVAL, ENOMEM } from "../../../core/uapi/errno.ts";
import { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, vfio_iommu_type1_dma_map } from "../../../core/uapi/vfio.ts";
import { assign } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { memoryAt, region, TestMemory } from "../support/guest-memory.ts";

const FIRST = "0000:01:00.0";
const SECOND = "0000:01:00.1";
const CARD = [FIRST, SECOND].map((name) => ({ name, group: 7, driver: "vfio-pci" }));
let fake: FakeVfio;
beforeEach(() => {
	fake = new FakeVfio(CARD);
});
/** Fails the n-th mapping from now on. */
function failMapping(n: number, errno: number): void {
	let left = n;
	fake.answers.set(VFIO_IOMMU_MAP_DMA, () => {
		if (--left === 0) throw new KernelError(errno, "VFIO_IOMMU_MAP_DMA", "fake");
		return undefined as unknown as number;
	});
}
const live = () => fake.mapped.map(({ iova }) => iova);

describe("DMA in the field", () => {
	it("DMA-03 does not try again after any other EINVAL", () => {
		const { iommu } = VfioDevice.open(fake.kernel, FIRST);
		iommu.map(0n, 0x7000_0000n, 0x1000n);
		fake.answers.set(VFIO_IOMMU_UNMAP_DMA, EINVAL);
		fake.requests.length = 0;
		vfioError(() => iommu.unmap(0n, 0x1000n));
		expect(fake.requests.filter((request) => request === VFIO_IOMMU_UNMAP_DMA).length).toBe(1);
	});

	it("DMA-08 moves peer-to-peer mappings with their BARs, by the address that was mapped; none is left", () => {
		const bars = [0xe600_0000n, 0x7ee0_0000_00n, 0x7efc_0000_00n].map((at) => region(at, 0x10000, { kind: "device" }));
		const memory = new TestMemory(bars);
		const { iommu } = VfioDevice.open(fake.kernel, FIRST);
		const mapper = GuestMemoryMapper.attach(iommu, memory);
		const moved = [0xc000_0000n, 0x1_0000_0000n, 0x1_1000_0000n].map((at, n) => {
			const bar = bars[n] as (typeof bars)[number];
			memory.remove(bar);
			const next = { ...bar, guestAddress: at };
			memory.add(next);
			return next;
		});
		expect(live()).toEqual([0xc000_0000n, 0x1_0000_0000n, 0x1_1000_0000n]);
		expect(fake.unmaps.map(({ iova }) => iova)).toEqual(bars.map(({ guestAddress }) => guestAddress));
		for (const one of moved) memory.remove(one);
		expect([live(), iommu.mappingCount]).toEqual([[], 0]);
		mapper[Symbol.dispose]();
	});

	it("DMA-14 maps memory that is added in every container before the add returns, and tells a failure at once", () => {
		const both = [
			{ name: FIRST, group: 7, driver: "vfio-pci" },
			{ name: "0000:02:00.0", group: 8, driver: "vfio-pci" },
		];
		fake = new FakeVfio(both);
		const memory = new TestMemory([region(0n, 0x4000_0000)]);
		const reports: MapReport[] = [];
		const spaces = both.map(() => new IoAddressSpace(fake.kernel, { memory, onReport: (one) => reports.push(one) }));
		for (const [n, { name }] of both.entries())
			VfioDevice.open(fake.kernel, name, { addressSpace: spaces[n] as IoAddressSpace });
		// The fake keeps one list for both containers, so a second mapping of the same address replaces the first there.
		const maps = () => fake.kernel.log.filter((line) => line === "map 100000000+20000000").length;
		memory.add(region(0x1_0000_0000n, 0x2000_0000));
		expect(maps()).toBe(2);
		expect(reports).toEqual([]);
		failMapping(1, ENOMEM);
		memory.add(region(0x2_0000_0000n, 0x1000));
		expect(reports[0]).toMatchObject({ severity: "error", error: { code: "memlock-too-low" } });
	});

	it("DMA-15 fails the attach when RAM cannot be mapped, with the errno; nothing stays mapped or open", () => {
		const regions = [0, 1, 2, 3].map((n) => region(BigInt(n) << 20n, 0x1000));
		failMapping(3, ENOMEM);
		const addressSpace = new IoAddressSpace(fake.kernel, { memory: new TestMemory(regions) });
		const error = vfioError(() => VfioDevice.open(fake.kernel, FIRST, { addressSpace }));
		expect([error.errno, error.device]).toEqual([ENOMEM, FIRST]);
		expect(error.message).toContain("4096 bytes");
		expect([live(), fake.leaks]).toEqual([[], []]);
	});

	it("DMA-16 keeps the kernel's granularity: neighbours are unmapped one by one, and a repeat takes no second slot", () => {
		const { iommu } = VfioDevice.open(fake.kernel, FIRST);
		iommu.map(0n, 0x7000_0000n, 0x4000n);
		iommu.map(0x4000n, 0x7000_4000n, 0xc000n);
		iommu.map(0n, 0x7000_0000n, 0x4000n);
		expect([iommu.mappingCount, fake.mapped.length]).toEqual([2, 2]);
		expect(iommu.unmap(0n, 0x4000n)).toBe(0x4000n);
		expect(live()).toEqual([0x4000n]);
		expect(iommu.unmap(0x4000n, 0xc000n)).toBe(0xc000n);
		expect([live(), iommu.mappingCount]).toEqual([[], 0]);
	});

	it("DMA-17 maps once for two functions of a group, until the last is closed; the group opens and closes once", () => {
		const memory = new TestMemory([0n, 0x10_0000n, 0x20_0000n].map((at) => region(at, 0x1000)));
		const addressSpace = new IoAddressSpace(fake.kernel, { memory });
		const first = VfioDevice.open(fake.kernel, FIRST, { addressSpace });
		const second = VfioDevice.open(fake.kernel, SECOND, { addressSpace });
		expect(live().length).toBe(3);
		first[Symbol.dispose]();
		expect(live().length).toBe(3);
		expect(second.readRegion(0, 0, 4)).toBe(0);
		second[Symbol.dispose]();
		expect([live(), fake.leaks]).toEqual([[], []]);
		for (const call of ["open", "close"])
			expect(fake.kernel.log.filter((line) => line === `${call} /dev/vfio/7`).length).toBe(1);
	});
});

describe("limits in the field", () => {
	const CHUNK = 2 << 20;
	const limits = { pageSize: 4096n, iovaRanges: undefined, dmaAvail: 65535 };

	it("LIM-01 makes one mapping of 256 GiB in pieces that go together; otherwise says what is needed and what there is", () => {
		const count = (256 * 2 ** 30) / CHUNK;
		const memory = memoryAt(0x10_0000_0000n, count * CHUNK);
		const piece = region(0n, CHUNK, { memory });
		const chunk = (n: number, lifetime?: object) => ({
			...piece,
			guestAddress: BigInt(n * CHUNK),
			offset: n * CHUNK,
			...(lifetime ? { lifetime } : {}),
		});
		const together = {};
		const merged = planMappings(
			Array.from({ length: count }, (_, n) => chunk(n, together)),
			limits,
		);
		expect(merged.map.map(({ iova, size }) => [iova, size])).toEqual([[0n, 256n << 30n]]);
		const apart = planMappings(
			Array.from({ length: 65536 }, (_, n) => chunk(n)),
			limits,
		);
		expect(apart.map).toEqual([]);
		expect(apart.skipped[0]?.error?.message).toContain("65536 mappings are needed, and the kernel allows 65535 more");
	});

	it("LIM-07 takes one place for each BAR, however often that moves", () => {
		const { fn, slot } = assign();
		fn.configWrite(4, 2, 2);
		for (let n = 1; n <= 100; n++) {
			fn.configWrite(0x10, 4, 0xc0000000 + n * 0x10000);
			const placed = slot.placements.filter((line) => !line.endsWith("-")).length;
			expect(placed - slot.placements.filter((line) => line.endsWith("-")).length).toBe(1);
		}
		expect(slot.bars[0]).toBe(0xc0640000n);
	});
});

describe("security in the field", () => {
	it("SEC-03 checks the end of what is mapped against its memory and against 2^64, and sends nothing", () => {
		const plan = planMappings([region(0n, 0x4000_0000), region(0x3fff_f000n, 0x20_0000)], {
			pageSize: 4096n,
			iovaRanges: undefined,
			dmaAvail: 10,
		});
		expect(plan.skipped.map(({ reason }) => reason)).toEqual(["overlapping"]);
		for (const more of [{ offset: 0x1000 }, { offset: -0x1000 }, { memory: memoryAt(0x7000_0000n, 0x1000) }]) {
			const bad = planMappings([region(0n, 0x20_0000, { memory: memoryAt(0x7000_0000n, 0x20_0000), ...more })], {
				pageSize: 4096n,
				iovaRanges: undefined,
				dmaAvail: 10,
			});
			expect([bad.map, bad.skipped[0]?.reason, bad.skipped[0]?.fatal]).toEqual([[], "outside-memory", true]);
		}
		const { iommu } = VfioDevice.open(fake.kernel, FIRST);
		fake.requests.length = 0;
		for (const [iova, size] of [
			[0xffff_ffff_ffff_f000n, 0x2000n],
			[-0x1000n, 0x2000n],
			[0n, 0n],
		] as const)
			expect(vfioError(() => iommu.map(iova, 0x7000_0000n, size)).message).toContain("not within 2^64");
		expect(fake.requests).toEqual([]);
		iommu.map(0x1000n, 0x7000_0000n, 0x1000n);
		expect(vfio_iommu_type1_dma_map.size).toBe(32);
	});
});
