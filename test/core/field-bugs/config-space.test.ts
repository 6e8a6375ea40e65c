// What users of other programs met with configuration space and capabilities; the ids are those of the collection.
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { KernelError } from "../../../core/errors.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { mappableAreas } from "../../../core/pci/msix-areas.ts";
import { planFunction } from "../../../core/pci/plan.ts";
import { walkCapabilities, walkExtendedCapabilities } from "../../../core/pci/walk.ts";
import { EINVAL } from "../../../core/uapi/errno.ts";
import { assign, nicConfig } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { store } from "../support/fake-vfio-device.ts";
import { configSpace, msixBody } from "../support/pci-config.ts";

describe("configuration space in the field", () => {
	it("CFG-03 sizes every BAR by the standard decode, of every power of two", () => {
		for (let bits = 4; bits <= 31; bits++) {
			const config = configSpace({ bars: [0xfe400008, 0xe001] });
			const ports = 2 ** Math.min(8, bits);
			const regions = { 0: { size: 2 ** bits, mappable: true }, 1: { size: ports } };
			const { fn } = assign({ config, regions });
			const size = (register: number, flags: number) => {
				fn.configWrite(register, 4, 0xffffffff);
				const value = fn.configRead(register, 4);
				return ((~(value & ~flags) >>> 0) + 1) % 2 ** 32;
			};
			expect(size(0x10, 0xf)).toBe(2 ** bits % 2 ** 32);
			expect(fn.configRead(0x10, 4) & 0xf).toBe(8);
			expect(size(0x14, 3)).toBe(ports);
			expect(fn.configRead(0x14, 4) & 3).toBe(1);
		}
	});

	it("CFG-03 writes back what was there: sizing leaves address and type as they were", () => {
		const { fn } = assign();
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(0x10, 4, 0xffffffff);
		fn.configWrite(0x10, 4, 0xd0000000);
		expect(fn.configRead(0x10, 4)).toBe(0xd0000000);
	});

	it("CFG-07 pairs 64-bit BARs that begin at an odd index, and never sizes an upper half", () => {
		const plan = planFunction({
			config: configSpace({ bars: [0xf6000000, 0xe000000c, 0, 0xf000000c, 0, 0xe001] }),
			regions: [16 << 20, 256 << 20, 0, 32 << 20, 0, 128].map((size) => ({
				size,
				mappable: size > 128,
				msixMappable: false,
				sparseAreas: undefined,
			})),
			irqs: [{ count: 1 }],
			pageSize: 4096,
			bus: "downstream-port",
			multifunction: false,
		});
		expect(plan.bars.map(({ index, kind }) => [index, kind])).toEqual([
			[0, "mem32"],
			[1, "mem64"],
			[3, "mem64"],
			[5, "io"],
		]);
		expect(plan.problems).toEqual([]);
	});

	it("CFG-09 moves a BAR once at the rising edge of memory decoding, and not while that is off", () => {
		const { fn, slot } = assign();
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(4, 2, 2);
		slot.placements.length = 0;
		fn.configWrite(4, 2, 0);
		fn.configWrite(0x10, 4, 0xc0000000);
		expect(slot.placements).toEqual(["0@-"]);
		fn.configWrite(4, 2, 2);
		fn.configWrite(4, 2, 2);
		expect(slot.placements).toEqual(["0@-", "0@c0000000"]);
	});

	describe("a machine that refuses a place", () => {
		function refusing() {
			const slot = new FakeSlot();
			const place = slot.placeBar.bind(slot);
			slot.placeBar = (bar, address) => {
				if (address !== undefined && address >= 1n << 40n) throw new Error("Cannot place it: out of the window");
				place(bar, address);
			};
			const config = configSpace({ bars: [0xfe40000c] });
			const made = assign({ config, regions: { 0: { size: 0x10000, mappable: true } } }, {}, slot);
			return made;
		}

		it("CFG-10 keeps register and place together: both go back to the old base", () => {
			const { fn, slot, reports } = refusing();
			fn.configWrite(0x10, 4, 0);
			fn.configWrite(0x14, 4, 1);
			fn.configWrite(4, 2, 2);
			fn.configWrite(0x14, 4, 0xffff);
			expect([fn.configRead(0x10, 4), fn.configRead(0x14, 4)]).toEqual([0xc, 1]);
			expect(slot.bars[0]).toBe(0x1_0000_0000n);
			expect(fn.barRead(0, 0, 4)).toBe(0);
			expect(reports).toEqual(["0000:05:00.0: Cannot place it: out of the window"]);
		});

		it("CFG-10 does so for a move that was made with decoding off, too", () => {
			const { fn, slot } = refusing();
			fn.configWrite(0x14, 4, 1);
			fn.configWrite(4, 2, 2);
			fn.configWrite(4, 2, 0);
			fn.configWrite(0x14, 4, 0xffff);
			fn.configWrite(4, 2, 2);
			expect([slot.bars[0], fn.configRead(0x14, 4)]).toEqual([0x1_0000_0000n, 1]);
		});

		it("CFG-10 leaves a BAR that never had a place nowhere, and does not remember one across a reset", () => {
			const { fn, slot } = refusing();
			fn.configWrite(0x14, 4, 1);
			fn.configWrite(4, 2, 2);
			fn.reset();
			fn.configWrite(0x14, 4, 0xffff);
			fn.configWrite(4, 2, 2);
			expect(slot.bars[0]).toBeUndefined();
		});
	});

	it("CFG-13 writes only to registers that are there, and names offset and length when that is refused", () => {
		const vfio = new FakeVfio();
		vfio.bytes.set(7, nicConfig());
		const reports: string[] = [];
		const device = VfioDevice.open(vfio.kernel, "05:00.0", { onReport: (message) => reports.push(message) });
		const file = vfio.kernel.fileOf(device.fd);
		const { offset, size } = device.region(7);
		const writes: [number, number][] = [];
		file.pwrite = (buffer, at) => {
			writes.push([at - offset, buffer.length]);
			throw new KernelError(EINVAL, "pwrite", "fake");
		};
		try {
			AssignedFunction.attach(device, { onReport: (message) => reports.push(message), intx: "off" });
		} catch (error) {
			expect((error as Error).message).toMatch(/^Cannot /);
		}
		expect(writes.length).toBeGreaterThan(0);
		for (const [at, length] of writes) expect(at >= 0x10 && at <= 0x30 && at + length <= size).toBe(true);
		expect(reports.some((message) => message.startsWith("Cannot write 4 bytes at 0x30 of config space"))).toBe(true);
	});

	it("CFG-15 is exact beyond 32 bits: areas around a table that ends at 4 GiB, and offsets above 2^40", () => {
		const table = { offset: 2 ** 32 - 64 * 16, vectors: 64 };
		expect(mappableAreas({ size: 2 ** 32, pageSize: 4096, table })).toEqual([{ start: 0, end: 2 ** 32 - 0x1000 }]);
		expect(mappableAreas({ size: 2 ** 33, pageSize: 4096, table })).toEqual([
			{ start: 0, end: 2 ** 32 - 0x1000 },
			{ start: 2 ** 32, end: 2 ** 33 },
		]);
		const vfio = new FakeVfio();
		vfio.regions[2] = { size: 2 ** 33, flags: 7 };
		const device = VfioDevice.open(vfio.kernel, "05:00.0");
		const file = vfio.kernel.fileOf(device.fd);
		const asked: [number, number][] = [];
		file.mmap = (length, _protection, _flags, offset) => {
			asked.push([length, offset]);
			return vfio.kernel.fail(EINVAL, "mmap", "fake");
		};
		vfioError(() => device.mapRegion(2, 2 ** 32, 2 ** 32));
		expect(asked).toEqual([[2 ** 32, device.region(2).offset + 2 ** 32]]);
		expect(device.region(2).offset).toBeGreaterThanOrEqual(2 ** 41);
	});
});

describe("capabilities in the field", () => {
	it("CAP-01 ends at a pointer of all ones, whether the rest answers or not", () => {
		const config = configSpace();
		config[6] = 0x10;
		config[0x34] = 0xff;
		config.fill(0xff, 0x40);
		expect(walkCapabilities(config)).toEqual({
			capabilities: [],
			problem: "The capability at 0xfc reads all ones: the list ends there",
		});
		expect(assign({ config }).fn.plan.guest.capabilities).toEqual([]);
		config.fill(0xff);
		expect(vfioError(() => assign({ config })).message).toContain("does not answer");
	});

	it("CAP-02 ignores the reserved bits of pointers", () => {
		const clean = configSpace({
			capabilities: [
				[0x40, 1, [3, 0]],
				[0x50, 5],
			],
		});
		const dirty = clean.slice();
		dirty[0x34] = 0x43;
		dirty[0x41] = 0x52;
		expect(walkCapabilities(dirty)).toEqual(walkCapabilities(clean));
		const { fn } = assign({ config: dirty });
		expect([fn.configRead(0x34, 1), fn.configRead(0x41, 1)]).toEqual([0x40, 0x50]);
	});

	it("CAP-05 visits each capability of a cycle once, in both lists, and says so", () => {
		const config = configSpace({
			size: 4096,
			capabilities: [
				[0x40, 1],
				[0x50, 9],
			],
		});
		config[0x51] = 0x40;
		store(config, 0x100, 4, 0x14010001);
		store(config, 0x140, 4, 0x10010003);
		const standard = walkCapabilities(config);
		const extended = walkExtendedCapabilities(config);
		expect(standard.capabilities.map(({ offset }) => offset)).toEqual([0x40, 0x50]);
		expect(extended.capabilities.map(({ offset }) => offset)).toEqual([0x100, 0x140]);
		for (const { problem } of [standard, extended]) expect(problem).toContain("loops");
	});

	describe("CAP-11 a capability that is added", () => {
		const gpu = (capabilities: readonly (readonly [number, number, number[]?])[], vendor = 0x10de) => {
			const config = configSpace({ bars: [0xfe400000], capabilities });
			store(config, 0, 2, vendor);
			return assign({ config, regions: { 0: { size: 0x10000 } } }, { gpuDirectClique: 5 });
		};
		const msix = msixBody(4, [0, 0], [0, 0x800]);

		it.each([
			["CAP-11 goes to 0xc8 where that is free", [[0x60, 1, [3, 0, 8, 0]]], 0xc8],
			[
				"CAP-11 goes to 0xd4 where MSI-X has 0xc8",
				[
					[0x60, 1, [3, 0, 8, 0]],
					[0xc8, 0x11, msix],
				],
				0xd4,
			],
			["CAP-11 goes to 0xd4 where MSI-X reaches into 0xc8", [[0xc0, 0x11, msix]], 0xd4],
		] as const)("%s", (_, capabilities, place) => {
			const { fn } = gpu(capabilities as never);
			expect(fn.plan.guest.capabilities.at(-1)).toEqual({ id: 9, offset: place });
			expect([...Array(8).keys()].map((n) => fn.configRead(place + n, 1))).toEqual([
				9, 0, 8, 0x50, 0x32, 0x50, 0x28, 0,
			]);
			expect(fn.plan.guest.capabilities.length).toBe(capabilities.length + 1);
			fn.configWrite(place + 4, 4, 0);
			expect(fn.configRead(place + 4, 2)).toBe(0x5032);
		});

		it("CAP-11 is refused where both places are taken, and for other vendors", () => {
			const full = vfioError(() =>
				gpu([
					[0xc8, 0x11, msix],
					[0xd4, 0x09],
				]),
			);
			expect([full.code, full.message]).toEqual([
				"invalid-argument",
				"Cannot assign 0000:05:00.0: the GPUDirect capability has no place: 0xc8 and 0xd4 are taken",
			]);
			expect(vfioError(() => gpu([], 0x8086)).message).toContain("no NVIDIA device");
			expect(vfioError(() => assign({}, { gpuDirectClique: 16 })).message).toContain("0 to 15");
		});
	});
});

describe("a device in a low power state in the field", () => {
	it("RST-04 has nothing mapped outside D0: accesses answer, and mapped memory is not touched", () => {
		const { device, fn, slot } = assign();
		device.writable.add(0x44);
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(4, 2, 2);
		fn.barWrite(0, 0x10, 4, 0x1234);
		fn.configWrite(0x44, 2, 3);
		expect([slot.bars[0], fn.directAreas(0)]).toEqual([undefined, []]);
		let touched = 0;
		for (const mapping of device.mappings) Object.assign(mapping, { read: () => touched++, write: () => touched++ });
		device.failing = ["read 0", "write 0"];
		for (const width of [1, 2, 4] as const) {
			expect(fn.barRead(0, 0x10, width as AccessWidth)).toBe(2 ** (8 * width) - 1);
			fn.barWrite(0, 0x10, width, 0);
		}
		expect(touched).toBe(0);
		fn.configWrite(0x44, 2, 0);
		expect([slot.bars[0], fn.directAreas(0).length]).toEqual([0xd0000000n, 2]);
		fn.barRead(0, 0x10, 4);
		expect(touched).toBe(1);
	});
});
