// Defects that were read in other programs, each as a case that ours passes.
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { KernelError } from "../../core/errors.ts";
import { GuestMemoryMapper } from "../../core/iommu/memory-map.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { mappableAreas } from "../../core/pci/msix-areas.ts";
import { msixPbaSize } from "../../core/pci/msix-capability.ts";
import { walkCapabilities } from "../../core/pci/walk.ts";
import { EIO, ENOMEM } from "../../core/uapi/errno.ts";
import { VFIO_IOMMU_MAP_DMA } from "../../core/uapi/vfio.ts";
import { assign, MSIX_AT, MSIX_ON, msixControl, nicConfig } from "./support/assigned.ts";
import { vfioError } from "./support/error.ts";
import { FakeVfio } from "./support/fake-vfio.ts";
import { FakeDevice } from "./support/fake-vfio-device.ts";
import { region, TestMemory } from "./support/guest-memory.ts";
import { configSpace, msiBody, msixBody } from "./support/pci-config.ts";

const ADDRESS = "0000:05:00.0";

describe("traps that others fell into", () => {
	it("trap-1 the pending bits of 2048 vectors have 256 bytes", () => {
		expect(msixPbaSize(2048)).toBe(256);
		const bar = (pba: number) => {
			const config = configSpace({
				bars: [0xfe400000],
				capabilities: [[MSIX_AT, 0x11, msixBody(2048, [0, 0], [0, pba])]],
			});
			return assign({ config, regions: { 0: { size: 0x10000, mappable: true } }, irqs: [1, 0, 2048, 1, 1] }).fn;
		};
		expect(bar(0x10000 - 256).barRead(0, 0x10000 - 4, 4)).toBe(0);
		expect(() => bar(0x10000 - 248)).toThrow("outside the BAR");
	});

	it("trap-2 a device without MSI-X has none, whatever extended capabilities there are", () => {
		const config = configSpace({ size: 4096, extended: [[0x100, 0x11, [1, 2, 3, 4]]] });
		const { fn } = assign({ config, regions: { 0: { size: 0x1000 } } });
		expect([fn.plan.interrupts.msix, fn.plan.refusal]).toEqual([0, undefined]);
		expect(walkCapabilities(config).capabilities).toEqual([]);
	});

	it("trap-3 a group that is in a container already is still viable", () => {
		const card = [ADDRESS, "0000:05:00.1"].map((name) => ({ name, group: 12, driver: "vfio-pci" }));
		const vfio = new FakeVfio(card);
		const first = VfioDevice.open(vfio.kernel, ADDRESS);
		expect(first.group?.status()).toEqual({ viable: true, containerSet: true });
		expect(VfioDevice.open(vfio.kernel, "0000:05:00.1").group).toBe(first.group);
	});

	it("trap-4 a BAR that moves leaves its old place", () => {
		const { fn, slot } = assign();
		fn.configWrite(4, 2, 2);
		for (const at of [0xd0000000, 0xd1000000, 0xd2000000]) fn.configWrite(0x10, 4, at);
		expect(slot.placements).toEqual(["0@d0000000", "0@-", "0@d1000000", "0@-", "0@d2000000"]);
	});

	it("trap-5 a write to STATUS is no write to COMMAND", () => {
		const { fn, slot } = assign();
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(6, 2, 0xffff);
		expect([slot.placements, fn.configRead(4, 2)]).toEqual([[], 0]);
		fn.configWrite(4, 4, 0xffff0002);
		expect(slot.bars[0]).toBe(0xd0000000n);
		fn.configWrite(6, 2, 0);
		expect(slot.bars[0]).toBe(0xd0000000n);
	});

	it("trap-6 a device whose attach failed can be attached again", () => {
		const vfio = new FakeVfio();
		const bad = configSpace({ headerType: 1 });
		vfio.bytes.set(7, bad);
		const device = VfioDevice.open(vfio.kernel, ADDRESS);
		vfioError(() => AssignedFunction.attach(device));
		device[Symbol.dispose]();
		expect(vfio.leaks).toEqual([]);
		vfio.bytes.set(7, configSpace());
		const again = VfioDevice.open(vfio.kernel, ADDRESS);
		expect(AssignedFunction.attach(again, { intx: "off" }).name).toBe(ADDRESS);
	});

	it("trap-7 a missing VGA region shifts no region behind it", () => {
		const vfio = new FakeVfio();
		vfio.deviceInfo = { ...vfio.deviceInfo, regions: 11 };
		vfio.regions[9] = { size: 0x9000 };
		vfio.regions[10] = { size: 0xa000 };
		const device = VfioDevice.open(vfio.kernel, ADDRESS);
		expect([8, 9, 10].map((index) => device.region(index).size)).toEqual([0, 0x9000, 0xa000]);
		expect([8, 9, 10].map((index) => device.region(index).index)).toEqual([8, 9, 10]);
	});

	it("trap-8 no failed access is swallowed, and no end of an access wraps", () => {
		const vfio = new FakeVfio();
		const reports: string[] = [];
		const device = VfioDevice.open(vfio.kernel, ADDRESS, { onReport: (message) => reports.push(message) });
		vfio.kernel.fileOf(device.fd).pread = () => vfio.kernel.fail(EIO, "pread", "fake");
		expect(device.readRegion(0, 0, 4)).toBe(0xffffffff);
		for (const offset of [0x3fff, 0x4000, 2 ** 32 - 2, Number.MAX_SAFE_INTEGER, -4, Number.NaN])
			expect(device.readRegion(0, offset, 4)).toBe(0xffffffff);
		expect(reports.length).toBe(7);
	});

	it("trap-9 MSI-X and power management are both there, read and written", () => {
		const { device, fn } = assign();
		device.writable.add(0x44);
		fn.configWrite(0x44, 2, 3);
		msixControl(fn, MSIX_ON);
		expect([fn.configRead(0x44, 2) & 3, fn.interruptMode]).toEqual([3, "msix"]);
		expect(fn.configRead(MSIX_AT + 2, 2)).toBe(0x8007);
	});

	it("trap-10 lists that loop, and capabilities cut off by the end of the space, end", () => {
		const loop = configSpace({
			capabilities: [
				[0x40, 9],
				[0x50, 9],
			],
		});
		loop[0x51] = 0x40;
		expect(walkCapabilities(loop).capabilities.length).toBe(2);
		const own = configSpace({ capabilities: [[0x40, 9]] });
		own[0x41] = 0x40;
		expect(walkCapabilities(own).capabilities.length).toBe(1);
		for (const [id, body] of [
			[0x05, msiBody({ maskable: true })],
			[0x10, [0, 0]],
			[0x01, [3, 0]],
		] as const) {
			const cut = configSpace({ capabilities: [[0xfc, id, [...body].slice(0, 2)]] });
			const { fn } = assign({ config: cut, regions: {} });
			expect(fn.configRead(0x34, 1) === 0 || fn.configRead(0x34, 1) === 0xfc).toBe(true);
		}
	});

	it("trap-11 table and pending bits may be in different BARs", () => {
		const config = configSpace({
			bars: [0xfe400000, 0xfe500000],
			capabilities: [[MSIX_AT, 0x11, msixBody(8, [0, 0], [1, 0])]],
		});
		const regions = { 0: { size: 0x1000, mappable: true }, 1: { size: 0x2000, mappable: true } };
		const { device, fn } = assign({ config, regions });
		msixControl(fn, MSIX_ON);
		fn.barWrite(0, 12, 4, 0);
		fn.barWrite(0, 12, 4, 1);
		device.message(2, 0);
		device.fake.settle();
		expect([fn.barRead(1, 0, 4), fn.barRead(0, 12, 4)]).toEqual([1, 1]);
		const areas = (bar: number) => fn.directAreas(bar).map(({ start, end }) => [start, end]);
		expect([areas(0), areas(1)]).toEqual([[], [[0x1000, 0x2000]]]);
	});

	it("trap-12 pending bits across a page boundary need both pages", () => {
		const config = configSpace({
			bars: [0xfe400000],
			capabilities: [[MSIX_AT, 0x11, msixBody(256, [0, 0x4000], [0, 0x1ff0])]],
		});
		const { device, fn } = assign({
			config,
			regions: { 0: { size: 0x10000, mappable: true } },
			irqs: [1, 0, 256, 1, 1],
		});
		msixControl(fn, MSIX_ON);
		fn.barWrite(0, 0x4000 + 16 * 200 + 12, 4, 0);
		fn.barWrite(0, 0x4000 + 16 * 200 + 12, 4, 1);
		device.message(2, 200);
		device.fake.settle();
		expect(fn.directAreas(0).map(({ start, end }) => [start, end])).toEqual([
			[0, 0x1000],
			[0x3000, 0x4000],
			[0x5000, 0x10000],
		]);
		expect(fn.barRead(0, 0x1ff0 + 24, 4)).toBe(1 << (200 % 32));
	});

	it("trap-13 maps whole pages around a table that is not page aligned", () => {
		const table = { offset: 0x1ff0, vectors: 2 };
		expect(mappableAreas({ size: 0x4000, pageSize: 0x1000, table })).toEqual([
			{ start: 0, end: 0x1000 },
			{ start: 0x3000, end: 0x4000 },
		]);
		const config = configSpace({
			bars: [0xfe400000],
			capabilities: [[MSIX_AT, 0x11, msixBody(2, [0, 0x1ff0], [0, 0x3000])]],
		});
		const { device } = assign({ config, regions: { 0: { size: 0x4000, mappable: true } } });
		expect(device.calls.filter((call) => call.startsWith("map"))).toEqual([]);
		const fresh = new FakeDevice({ config, regions: { 0: { size: 0x4000, mappable: true } } });
		AssignedFunction.attach(fresh);
		expect(fresh.take("map")).toEqual(["map 0 0 1000", "map 0 3000 1000"]);
	});

	it("trap-14 what was mapped before a failure is unmapped, and its addresses are free", () => {
		const vfio = new FakeVfio();
		const { iommu } = VfioDevice.open(vfio.kernel, ADDRESS);
		let calls = 0;
		vfio.answers.set(VFIO_IOMMU_MAP_DMA, () => {
			if (++calls === 3) throw new KernelError(ENOMEM, "MAP_DMA", "fake");
			return undefined as unknown as number;
		});
		const memory = new TestMemory([0n, 0x10_0000n, 0x20_0000n].map((at) => region(at, 0x1000)));
		vfioError(() => GuestMemoryMapper.attach(iommu, memory));
		expect([vfio.mapped, iommu.mappingCount, memory.listeners.size]).toEqual([[], 0, 0]);
		GuestMemoryMapper.attach(iommu, memory);
		expect(vfio.mapped.length).toBe(3);
	});

	it("trap-15 pending bits are whole words, and no more: 64 vectors have 8 bytes", () => {
		expect([1, 63, 64, 65, 128, 129].map(msixPbaSize)).toEqual([8, 8, 8, 16, 16, 24]);
		const config = configSpace({
			bars: [0xfe400000],
			capabilities: [[MSIX_AT, 0x11, msixBody(64, [0, 0], [0, 0xff8])]],
		});
		const { device, fn } = assign({ config, regions: { 0: { size: 0x1000 } }, irqs: [1, 0, 64, 1, 1] });
		device.take();
		fn.barWrite(0, 0xff0, 4, 1);
		fn.barWrite(0, 0xff8, 4, 1);
		expect(device.take("write 0")).toEqual(["write 0 ff0 1"]);
		expect(nicConfig().length).toBe(256);
	});
});
