import { describe, expect, it } from "vitest";
import { KernelError, VfioError } from "../../../core/errors.ts";
import type { AssignOptions } from "../../../core/pci/mod.ts";
import { planFunction } from "../../../core/pci/plan.ts";
import { assignOptions } from "../../../core/pci/properties.ts";
import { HITS, LARGEST } from "../../../core/pci/write-bypass.ts";
import { ENOTTY } from "../../../core/uapi/errno.ts";
import { assign } from "../support/assigned.ts";
import { FakeKvm } from "../support/fake-kvm.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { store } from "../support/fake-vfio-device.ts";
import { configSpace, msiBody } from "../support/pci-config.ts";

const MSI = 0x68;
const MIB = 1 << 20;
const VGA_REGION = 0xc0000;
const GPU_AT = 0xf0000000n;

/** A display controller of a vendor. */
function graphics(vendor: number, options: AssignOptions = {}, slot = new FakeSlot(), vga = options.vga) {
	const config = configSpace({
		bars: [0xf0000000, 0xd000000c, 0, 0xe000000c, 0, 0xe001],
		capabilities: [[MSI, 5, msiBody({ vectors: 1 })]],
	});
	store(config, 0, 4, 0x13c20000 + vendor);
	store(config, 8, 4, 0x030000a1);
	const regions = {
		0: { size: 16 * MIB, mappable: true },
		5: { size: 0x80 },
		...(vga ? { 8: { size: VGA_REGION } } : {}),
	};
	return assign({ config, regions, irqs: [1, 1, 0, 1, 1] }, options, slot);
}

const nvidia = (options: AssignOptions = {}, slot = new FakeSlot()) => {
	const made = graphics(0x10de, options, slot);
	made.fn.configWrite(0x10, 4, Number(GPU_AT));
	made.fn.configWrite(4, 2, 3);
	made.device.take();
	return made;
};

describe("NVIDIA's copy of configuration space", () => {
	it("is the guest's, at 0x88000 of BAR 0, and only its pages are trapped", () => {
		const { device, fn } = nvidia();
		device.memory[0]?.fill(0xee, 0x88000, 0x89000);
		expect(fn.barRead(0, 0x88010, 4)).toBe(Number(GPU_AT));
		fn.barWrite(0, 0x88004, 2, 7);
		expect(fn.configRead(4, 2) & 7).toBe(7);
		expect(fn.barRead(0, 0x1800, 4)).toBe(0);
		expect(fn.directAreas(0).map(({ start, end }) => [start, end])).toEqual([
			[0, 0x88000],
			[0x89000, 16 * MIB],
		]);
		expect(fn.plan.quirks).toEqual(["NVIDIA ways to configuration space"]);
	});

	it("passes the acknowledgement of an MSI to the device, and nothing else", () => {
		const { device, fn } = nvidia();
		fn.barWrite(0, 0x88000 + MSI, 1, 0xff);
		fn.barWrite(0, 0x88000 + MSI + 1, 1, 0);
		fn.barWrite(0, 0x88000 + MSI, 4, 0x10005);
		fn.barWrite(0, 0x88010, 4, 0xf4000000);
		expect(device.take("write 0")).toEqual([
			`write 0 ${(0x88000 + MSI).toString(16)} ff`,
			`write 0 ${(0x88001 + MSI).toString(16)} 0`,
		]);
		expect(fn.configRead(0x10, 4)).toBe(0xf4000000);
	});

	it.each([
		["without its quirks", { ...assignOptions(new Map([["x-no-geforce-quirks", "on"]])) }],
		["with none", { quirks: [] }],
	])("is ordinary memory %s", (_, options) => {
		const { fn } = nvidia(options);
		expect([fn.plan.quirks, fn.directAreas(0)]).toMatchObject([[], [{ start: 0, end: 16 * MIB }]]);
	});

	it("keeps the other quirks without its own", () => {
		expect(assignOptions(new Map([["x-no-geforce-quirks", "on"]])).quirks?.map(({ name }) => name)).toEqual([
			"RTL8168 back door to the MSI-X table",
			"ATI ways to configuration space",
		]);
		expect(assignOptions(new Map([["x-no-geforce-quirks", "off"]]))).toEqual({});
	});

	it("is watched over in display controllers only", () => {
		const config = configSpace({ bars: [0xf0000000] });
		store(config, 0, 4, 0x0fbc10de);
		store(config, 8, 4, 0x040300a1);
		const regions = [{ size: 16 * MIB, mappable: true, msixMappable: false, sparseAreas: undefined }];
		const plan = planFunction({
			config,
			regions,
			irqs: [],
			pageSize: 4096,
			bus: "downstream-port",
			multifunction: false,
		});
		expect(plan.bars[0]?.areas).toHaveLength(1);
	});
});

describe("NVIDIA's way to it for legacy VGA", () => {
	const window = (options: AssignOptions = { vga: true }) => {
		const made = nvidia(options);
		const { fn } = made;
		const port = (offset: number, value: number) => fn.barWrite(5, offset, 4, value);
		return { ...made, port, read: () => fn.barRead(5, 0xc, 4) };
	};

	it("is a window in I/O BAR 5 that two switches open", () => {
		const { device, fn, port, read } = window();
		store(device.memory[5] as Uint8Array, 0xc, 4, 0x11111111);
		for (const address of [0x1810, 0x88010]) {
			port(0x8, address);
			port(0x0, 0);
			port(0x4, 1);
			expect(read()).toBe(0x11111111);
			port(0x0, 1);
			expect(read()).toBe(Number(GPU_AT));
			port(0x4, 0);
			expect(read()).toBe(0x11111111);
		}
		port(0x4, 0x101);
		port(0xc, 0xf8000000);
		expect(fn.configRead(0x10, 4)).toBe(0xf8000000);
		port(0x8, 0x2000);
		port(0xc, 0x77);
		expect(device.take("write 5 c")).toEqual(["write 5 c 77"]);
	});

	it("has a second copy at 0x1800 of BAR 0", () => {
		expect(window().fn.barRead(0, 0x1810, 4)).toBe(Number(GPU_AT));
	});

	it("is not there without VGA", () => {
		const { port, read } = window({});
		port(0x8, 0x1810);
		port(0x0, 1);
		port(0x4, 1);
		expect(read()).toBe(0);
	});
});

describe("ATI's ways to configuration space", () => {
	const ati = (options: AssignOptions) => {
		const config = configSpace({ bars: [0xd000000c, 0, 0xf0000004, 0, 0xe001] });
		store(config, 0, 4, 0x67df1002);
		store(config, 8, 4, 0x030000c7);
		const regions = {
			0: { size: MIB, mappable: true },
			2: { size: 0x40000, mappable: true },
			4: { size: 0x100 },
			8: { size: VGA_REGION },
		};
		const made = assign({ config, regions, irqs: [1, 0, 0, 1, 1] }, options);
		made.fn.configWrite(0x20, 4, 0xc000);
		made.fn.configWrite(4, 2, 3);
		return made;
	};

	it("are a window in I/O BAR 4 and a copy in BAR 2", () => {
		const { device, fn } = ati({ vga: true });
		fn.barWrite(4, 0, 4, 0x4020);
		expect([fn.barRead(4, 4, 4), fn.barRead(2, 0x4020, 4)]).toEqual([0xc001, 0xc001]);
		fn.barWrite(4, 0, 4, 0x5020);
		store(device.memory[4] as Uint8Array, 4, 4, 0x55);
		expect(fn.barRead(4, 4, 4)).toBe(0x55);
		expect(fn.directAreas(2).map(({ start, end }) => [start, end])).toEqual([
			[0, 0x4000],
			[0x5000, 0x40000],
		]);
	});

	it("are left alone without VGA, whose code alone takes them", () => {
		const { fn } = ati({});
		expect(fn.directAreas(2)).toHaveLength(1);
	});
});

describe("a write that is repeated", () => {
	const ACK = 0x88000 + MSI;
	function withKvm(options: AssignOptions = {}) {
		const slot = new FakeSlot();
		const kvm = new FakeKvm();
		slot.kvm = kvm;
		const made = nvidia({ kvm: { intx: false }, ...options }, slot);
		const ack = (value = 0xff, times = HITS) => {
			for (let time = 0; time < times; time++) made.fn.barWrite(0, ACK, 1, value);
		};
		kvm.take();
		return { ...made, kvm, ack };
	}

	it("goes from KVM to VFIO after 10 times, with no process between", () => {
		const { device, fn, kvm, ack } = withKvm();
		ack(0xff, HITS - 1);
		expect(kvm.writes.size).toBe(0);
		ack(0xff, 1);
		expect([...kvm.writes.keys()]).toEqual([`mmio ${(GPU_AT + BigInt(ACK)).toString(16)} 1 ff`]);
		expect(device.ioeventfds.get(`0 ${ACK.toString(16)} 1 ff`)).toBe([...kvm.writes.values()][0]);
		expect(device.fake.watches.has([...kvm.writes.values()][0] ?? 0)).toBe(false);
		// Each write was done once, the tenth too.
		expect(device.take(`write 0 ${ACK.toString(16)}`)).toHaveLength(HITS);
		fn[Symbol.dispose]();
		expect([kvm.writes.size, device.ioeventfds.size, device.held]).toEqual([0, 0, 0]);
	});

	it("counts from the beginning when another one comes between", () => {
		const { kvm, ack } = withKvm();
		ack(0xff, HITS - 1);
		ack(0xfe, 1);
		ack(0xff, HITS - 1);
		expect(kvm.writes.size).toBe(0);
	});

	it("is one of 10 at most", () => {
		const { kvm, ack } = withKvm();
		for (let value = 0; value < LARGEST + 2; value++) ack(value);
		expect(kvm.writes.size).toBe(LARGEST);
	});

	it("comes to us again when its BAR moves, is switched off, or the device is reset", () => {
		const { device, fn, kvm, ack } = withKvm();
		for (const change of [() => fn.configWrite(0x10, 4, 0xe0000000), () => fn.configWrite(4, 2, 1), () => fn.reset()]) {
			fn.configWrite(4, 2, 3);
			ack();
			expect(kvm.writes.size).toBe(1);
			change();
			expect([kvm.writes.size, device.ioeventfds.size]).toEqual([0, 0]);
		}
	});

	it.each([
		["the option says so", { kvm: { intx: false, deviceWrites: false } }, undefined],
		["the kernel has no such call", {}, new KernelError(ENOTTY, "VFIO_DEVICE_IOEVENTFD", "test")],
	])("is done by this process, without an exit of the guest, when %s", (_, options, refusal) => {
		const { device, kvm, ack, reports } = withKvm(options);
		const { setIoeventfd } = device;
		if (refusal)
			device.setIoeventfd = () => {
				throw new VfioError("kernel", "Cannot", { cause: refusal });
			};
		ack();
		device.setIoeventfd = setIoeventfd;
		device.take();
		device.fake.signal([...kvm.writes.values()][0] ?? 0);
		device.fake.settle();
		expect([device.take(`write 0 ${ACK.toString(16)}`).length, device.ioeventfds.size, reports]).toEqual([1, 0, []]);
	});

	it.each(["write mmio"])("stays with us, and nothing is left behind, when KVM refuses: %s", (what) => {
		const { device, kvm, ack, reports, fn } = withKvm();
		kvm.failing = [what];
		const held = device.held;
		ack(0xff, 3 * HITS);
		expect([kvm.writes.size, device.ioeventfds.size, device.held, reports.length]).toEqual([0, 0, held, 1]);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it("stays with us when the option says so, and without KVM", () => {
		const off = withKvm({ kvm: { intx: false, writes: false } });
		off.ack();
		expect(off.kvm.writes.size).toBe(0);
		const without = nvidia();
		for (let time = 0; time < 2 * HITS; time++) without.fn.barWrite(0, ACK, 1, 0xff);
		expect(without.device.ioeventfds.size).toBe(0);
	});
});

describe("legacy VGA", () => {
	const VGA = 8;
	function withVga(vendor: number, options: AssignOptions = { vga: true }) {
		const config = configSpace({ bars: [0xf0000000, 0, 0, 0, 0xe001] });
		store(config, 0, 4, 0x13c20000 + vendor);
		store(config, 8, 4, 0x030000a1);
		const regions = { 0: { size: MIB, mappable: true }, 4: { size: 0x100 }, [VGA]: { size: VGA_REGION } };
		const made = assign({ config, regions, irqs: [1, 0, 0, 1, 1] }, options);
		made.fn.configWrite(0x10, 4, 0xf4000000);
		made.fn.configWrite(0x20, 4, 0xc100);
		made.device.take();
		return made;
	}

	it("passes its ports and its memory to the device, and nothing beside them", () => {
		const { device, fn } = withVga(0x8086);
		fn.vgaWrite(0x3c4, 2, 0x0f02);
		fn.vgaWrite(0xa0000, 4, 0x12345678);
		expect(fn.vgaRead(0xa0002, 2)).toBe(0x1234);
		for (const [address, width] of [
			[0x3bc, 1],
			[0x3df, 2],
			[0xbfffe, 4],
			[0x9ffff, 1],
			[0, 4],
		] as const) {
			expect(fn.vgaRead(address, width)).toBe(2 ** (8 * width) - 1);
			fn.vgaWrite(address, width, 0);
		}
		expect(device.take()).toEqual(["write 8 3c4 f02", "write 8 a0000 12345678", "read 8 a0002"]);
		fn.unplug();
		expect(fn.vgaRead(0xa0000, 1)).toBe(0xff);
	});

	it("says so of a device, and of a kernel, that has none", () => {
		const error = (call: () => unknown) => {
			try {
				call();
			} catch (failure) {
				return failure as VfioError;
			}
			throw new Error("It was not refused");
		};
		const other = error(() => assign({}, { vga: true }));
		expect([other.code, other.message]).toEqual(["invalid-argument", expect.stringContaining("no VGA controller")]);
		const kernel = error(() => graphics(0x10de, { vga: true }, new FakeSlot(), false));
		expect([kernel.code, kernel.remedy[0]]).toEqual([
			"invalid-argument",
			expect.stringContaining("CONFIG_VFIO_PCI_VGA"),
		]);
		expect(withVga(0x8086, {}).fn.vgaRead(0x3c3, 1)).toBe(0xff);
	});

	it("ATI's port 0x3c3 tells where the guest has the ports, not where the host has them", () => {
		const { device, fn } = withVga(0x1002);
		store(device.memory[VGA] as Uint8Array, 0x3c3, 1, 0xe0);
		expect(fn.vgaRead(0x3c3, 1)).toBe(0xc1);
		expect(fn.vgaRead(0x3c2, 2)).toBe(0xffff);
		fn.vgaWrite(0x3c3, 1, 1);
		expect(device.take("write 8")).toEqual(["write 8 3c3 1"]);
	});

	it("NVIDIA's ports lead to the guest's configuration space after the right sequence, and to the device otherwise", () => {
		const { device, fn } = withVga(0x10de);
		const select = (value: number) => fn.vgaWrite(0x3d4, 2, value);
		const data = (value: number) => fn.vgaWrite(0x3d0, 4, value);
		store(device.memory[VGA] as Uint8Array, 0x3d0, 4, 0x99);
		select(0x338);
		data(0x1810);
		select(0x538);
		expect(fn.vgaRead(0x3d0, 4)).toBe(0xf4000000);
		store(device.memory[VGA] as Uint8Array, 0x3d0, 4, 0x99);
		expect(fn.vgaRead(0x3d0, 4)).toBe(0x99);
		select(0x338);
		data(0x1810);
		select(0x738);
		data(0xf8000000);
		expect(fn.configRead(0x10, 4)).toBe(0xf8000000);
		device.take();
		data(0x5);
		expect(device.take()).toEqual(["write 8 3d0 5"]);
		// An address of something else, and a sequence that is interrupted.
		for (const break_ of [() => data(0x2010), () => fn.vgaRead(0x3d4, 2), () => fn.reset(), () => select(0x100)]) {
			select(0x338);
			data(0x1810);
			break_();
			select(0x538);
			store(device.memory[VGA] as Uint8Array, 0x3d0, 4, 0x77);
			expect(fn.vgaRead(0x3d0, 4)).toBe(0x77);
		}
	});
});
