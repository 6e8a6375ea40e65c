// What the first seed's device assignment does, by the ids of the acceptance list, where no other test is about just that.
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { VfioError } from "../../../core/errors.ts";
import { planMappings } from "../../../core/iommu/planner.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import type { AssignOptions } from "../../../core/pci/mod.ts";
import { planFunction } from "../../../core/pci/plan.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import { VFIO_DEVICE_GET_INFO } from "../../../core/uapi/vfio.ts";
import { assign, MSI_AT, MSIX_AT, MSIX_ON, msixControl, nicConfig, program, TABLE } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { FakeDevice } from "../support/fake-vfio-device.ts";
import { region } from "../support/guest-memory.ts";
import { configSpace, msixBody } from "../support/pci-config.ts";

type Assigned = ReturnType<typeof assign>;
function enableMsi({ fn }: Assigned, vectors = 1): void {
	fn.configWrite(MSI_AT + 4, 4, 0xfee00000);
	fn.configWrite(MSI_AT + 12, 2, 0x40);
	fn.configWrite(MSI_AT + 2, 2, (Math.log2(vectors) << 4) | 1);
}
function interrupt({ device }: Assigned): void {
	device.setLine(true);
	device.fake.settle();
}

describe("INTx of the first seed", () => {
	it("T-03 takes an access to a BAR for the end of the interrupt, with no help of the machine", () => {
		const assigned = assign();
		interrupt(assigned);
		expect(assigned.slot.pins[1]).toBe(true);
		assigned.device.line = false;
		assigned.fn.barRead(0, 0, 4);
		expect([assigned.slot.pins[1], assigned.device.masked]).toEqual([false, false]);
	});

	it("T-05 costs nothing while MSI or MSI-X is on: BARs stay mapped, accesses end nothing", () => {
		for (const start of [enableMsi, ({ fn }: Assigned) => msixControl(fn, MSIX_ON)]) {
			const assigned = assign();
			start(assigned);
			const { device, fn } = assigned;
			device.take();
			device.message(1, 0);
			device.message(2, 0);
			device.fake.settle();
			expect(fn.directAreas(0).length).toBeGreaterThan(0);
			fn.barWrite(2, 0, 4, 1);
			expect(device.take("unmask")).toEqual([]);
		}
	});

	it("I-03 clears pending, lowers the pin and unmasks, in that order, and only when one is pending", () => {
		const order: string[] = [];
		const slot = new FakeSlot();
		const assigned = assign({}, {}, slot);
		const { device, fn } = assigned;
		slot.setPin = (_, asserted) => void order.push(asserted ? "raise" : "lower");
		const unmask = device.unmaskIrq.bind(device);
		device.unmaskIrq = (index) => {
			order.push("unmask");
			unmask(index);
		};
		fn.barRead(2, 0, 4);
		expect(order).toEqual([]);
		interrupt(assigned);
		device.line = false;
		fn.barRead(2, 0, 4);
		fn.barRead(2, 0, 4);
		expect(order).toEqual(["raise", "lower", "unmask"]);
	});

	it("Z-8 leaves BARs mapped until the first interrupt, and maps them again afterwards", () => {
		const assigned = assign();
		const mapped = () => assigned.fn.directAreas(0).length > 0;
		expect(mapped()).toBe(true);
		interrupt(assigned);
		expect(mapped()).toBe(false);
		assigned.device.line = false;
		assigned.fn.barRead(0, 0, 4);
		assigned.device.fake.clock.advance(1100);
		expect(mapped()).toBe(true);
	});

	it("Z-11 leaves no handler and no eventfd behind when the kernel refuses INTx", () => {
		const device = new FakeDevice({ config: nicConfig(), regions: { 0: { size: 0x10000 }, 2: { size: 0x20 } } });
		device.failing = ["set 0"];
		expect(() => AssignedFunction.attach(device)).toThrow();
		expect(device.held).toBe(0);
	});
});

describe("MSI and MSI-X of the first seed", () => {
	it("M-01 delivers by the kind that is on, and nothing of a kind that is off", () => {
		const assigned = assign();
		const { device, fn, slot } = assigned;
		program(fn, 0);
		enableMsi(assigned);
		const [old] = device.irqState[1]?.fds ?? [];
		device.message(1, 0);
		device.fake.settle();
		msixControl(fn, MSIX_ON);
		device.message(2, 0);
		device.fake.settle();
		// What MSI had sent is gone with it.
		expect([slot.messages, device.fake.eventfds.has(old as number)]).toEqual([["fee00000=40", "fee00000=40"], false]);
		expect(fn.interruptMode).toBe("msix");
	});

	it("M-03 gives a vector its eventfd when the guest first unmasks it, and not before", () => {
		const { device, fn } = assign({ dynamic: true });
		msixControl(fn, MSIX_ON);
		expect(device.irqState[2]?.fds).toEqual([-1]);
		program(fn, 3, true);
		expect(device.irqState[2]?.fds.every((fd) => fd === -1)).toBe(true);
		program(fn, 3);
		expect(device.irqState[2]?.fds.filter((fd) => fd >= 0).length).toBe(1);
		expect(device.irqState[0]?.active).toBe(false);
	});

	it("M-09 leaves MSI first and then the INTx that it leads back to: at the end nothing is armed", () => {
		for (const start of [() => {}, enableMsi, ({ fn }: Assigned) => msixControl(fn, MSIX_ON)]) {
			const assigned = assign();
			start(assigned);
			assigned.fn.unplug();
			expect(assigned.device.irqState.some((irq) => irq.active)).toBe(false);
			assigned.fn[Symbol.dispose]();
			expect(assigned.device.held).toBe(0);
		}
	});

	it("Z-5 reaches the host when MSI-X is enabled with no vector in use, and INTx comes back after it", () => {
		const { device, fn } = assign();
		msixControl(fn, MSIX_ON);
		expect([device.irqState[2]?.active, device.irqState[0]?.active]).toEqual([true, false]);
		msixControl(fn, 0);
		expect([device.irqState[2]?.active, device.irqState[0]?.active]).toEqual([false, true]);
	});

	it("Z-6 makes no message of its own when vectors are unmasked or the range grows", () => {
		for (const dynamic of [true, false]) {
			const { device, fn, slot } = assign({ dynamic });
			msixControl(fn, MSIX_ON);
			for (let vector = 0; vector < 8; vector++) program(fn, vector);
			fn.barWrite(0, TABLE + 12, 4, 1);
			fn.barWrite(0, TABLE + 12, 4, 0);
			device.fake.settle();
			expect(slot.messages).toEqual([]);
		}
	});

	it("Z-7 leaves the queue size as the guest wrote it when the host has fewer vectors", () => {
		const assigned = assign({ available: 1 });
		enableMsi(assigned, 4);
		expect((assigned.fn.configRead(MSI_AT + 2, 2) >> 4) & 7).toBe(2);
	});
});

describe("configuration space of the first seed", () => {
	it("C-05 puts writes to the header into the copy as well as to the device", () => {
		const { device, fn } = assign();
		device.take();
		fn.configWrite(0x10, 4, 0xd0000000);
		expect([device.take("write 7"), fn.configRead(0x10, 4)]).toEqual([["write 7 10 d0000000"], 0xd0000000]);
	});

	it("C-07 enables and disables MSI-X on the edges of its bit, whatever the width of the write", () => {
		for (const [offset, width, shift] of [
			[MSIX_AT, 4, 16],
			[MSIX_AT + 2, 2, 0],
			[MSIX_AT + 3, 1, -8],
		] as const) {
			const { device, fn } = assign();
			const write = (control: number) =>
				fn.configWrite(offset, width as AccessWidth, shift < 0 ? control >> 8 : control * 2 ** shift);
			write(MSIX_ON);
			expect(fn.interruptMode).toBe("msix");
			device.take();
			write(MSIX_ON);
			expect(device.take("set")).toEqual([]);
			write(0);
			expect(fn.interruptMode).toBe("intx");
			expect(fn.configRead(MSIX_AT, 2)).toBe(0x0011);
		}
	});

	it("C-08 mirrors writes to every capability: a register that is emulated there reads what was written", () => {
		const { device, fn } = assign();
		device.writable.add(0x44);
		fn.configWrite(0x44, 2, 3);
		fn.configWrite(0x10, 4, 0xd0000000);
		fn.configWrite(4, 2, 2);
		expect(fn.configRead(0x44, 2) & 3).toBe(3);
		fn.configWrite(0x44, 2, 0);
		expect(fn.configRead(0x44, 2) & 3).toBe(0);
	});

	it("K-03 gives MSI and MSI-X their own set-up and adds every other id as it is", () => {
		const ids = [0x01, 0x03, 0x08, 0x09, 0x0d, 0x12, 0x14, 0x42];
		const config = configSpace({
			capabilities: ids.map((id, n) => [0x40 + 16 * n, id, [0xaa, 0xbb, 0xcc, 0xdd]] as const),
		});
		const { fn } = assign({ config });
		expect(fn.plan.guest.capabilities.map(({ id }) => id)).toEqual(ids);
		for (const [n] of ids.entries()) if (n > 0) expect(fn.configRead(0x40 + 16 * n + 2, 2)).toBe(0xbbaa);
	});
});

describe("BARs of the first seed", () => {
	const input = (bars: readonly number[], sizes: readonly number[]) =>
		planFunction({
			config: configSpace({ bars }),
			regions: sizes.map((size) => ({ size, mappable: size > 0, msixMappable: false, sparseAreas: undefined })),
			irqs: [{ count: 1 }],
			pageSize: 4096,
			bus: "downstream-port",
			multifunction: false,
		}).bars.map(({ index, kind, size }) => [index, kind, size]);

	it("B-01 takes a BAR's kind from its register and its size from the kernel", () => {
		expect(input([0xfe400000, 0xe001, 0xfe50000c, 0], [0x4000, 0x20, 0x100000, 0])).toEqual([
			[0, "mem32", 0x4000],
			[1, "io", 0x20],
			[2, "mem64", 0x100000],
		]);
	});

	it("B-02 skips BARs that are not there and upper halves, and reaches each of the others through the kernel", () => {
		const { device, fn } = assign({}, { mmap: false });
		device.take();
		for (let bar = 0; bar < 6; bar++) fn.barRead(bar, 0, 4);
		expect(device.take("read")).toEqual(["read 0 0", "read 2 0"]);
	});

	it("B-05 switches both pieces around the table at once, on all BARs", () => {
		const config = configSpace({
			bars: [0xfe400000, 0xfe500000],
			capabilities: [[MSIX_AT, 0x11, msixBody(8, [0, TABLE], [0, 0x3000])]],
		});
		const regions = { 0: { size: 0x10000, mappable: true }, 1: { size: 0x1000, mappable: true } };
		const assigned = assign({ config, regions });
		const pieces = () => [0, 1].map((bar) => assigned.fn.directAreas(bar).length);
		expect(pieces()).toEqual([2, 1]);
		interrupt(assigned);
		expect(pieces()).toEqual([0, 0]);
	});
});

describe("memory of the first seed", () => {
	const limits = { pageSize: 4096n, iovaRanges: undefined, dmaAvail: 100 };

	it("D-02 maps RAM, and of what is no RAM only whole pages of BARs, never fatally", () => {
		const ram = region(0n, 0x10000);
		const bar = region(0xe000_0000n, 0x1000, { kind: "device" });
		const small = region(0xe000_2000n, 0x80, { kind: "device" });
		const plan = planMappings([ram, bar, small], limits);
		expect(plan.map.map(({ iova, kind }) => [iova, kind])).toEqual([
			[0n, "ram"],
			[0xe000_0000n, "device"],
		]);
		expect(plan.skipped.map(({ reason, fatal }) => [reason, fatal])).toEqual([["device-alignment", false]]);
	});

	it("Z-15 aligns to the pages of the host's IOMMU, whatever the guest's are", () => {
		const ram = region(0x1000n, 0x2f000, { memory: { ...region(0n, 0x40000).memory, address: 0x7000_0000_1000n } });
		const plan = planMappings([ram], { ...limits, pageSize: 0x10000n });
		expect(plan.map.map(({ iova, size }) => [iova, size])).toEqual([[0x1_0000n, 0x2_0000n]]);
	});
});

describe("life cycle of the first seed", () => {
	it("T-06 knows of a device what the first seed's structures hold", () => {
		const vfio = new FakeVfio();
		const device = VfioDevice.open(vfio.kernel, "05:00.0");
		expect(device.region(0)).toMatchObject({ index: 0, size: 0x4000, flags: 7, mappable: true });
		expect([device.name, device.groupId, device.resettable]).toEqual(["0000:05:00.0", 12, true]);
		expect([...(device.group?.devices ?? [])]).toEqual(["0000:05:00.0"]);
		expect(device.group && device.container?.groups.has(device.group)).toBe(true);
		const { fn } = assign();
		expect(fn.plan.bars[0]).toMatchObject({ index: 0, mapped: [{ end: TABLE }, { start: 0x3000 }] });
		expect(fn.plan.interrupts).toEqual({ intx: 1, msi: 4, msix: 8 });
		expect(fn.interruptMode).toBe("intx");
	});

	it("L-08 has the option that the first seed names, and says what it may be", () => {
		expect(assign({}, { intx: "off" }).fn.interruptMode).toBe("none");
		const wrong = vfioError(() => assign({}, { intx: "on" } as unknown as AssignOptions));
		expect(wrong.message).toBe('Cannot use "on" for intx: it is "auto" or "off"');
	});

	it.each([
		["it is no PCI device", { flags: 4, regions: 9, irqs: 5 }],
		["it has too few regions", { flags: 3, regions: 7, irqs: 5 }],
		["it has too few interrupts", { flags: 3, regions: 9, irqs: 2 }],
	])("Z-1 fails when %s, instead of going on with nothing", (_, info) => {
		const vfio = new FakeVfio();
		vfio.deviceInfo = info;
		expect(vfioError(() => VfioDevice.open(vfio.kernel, "05:00.0")).code).toBe("unassignable-device");
		expect(vfio.leaks).toEqual([]);
	});

	it("Z-3 keeps the errno of the call that failed, whatever the clean-up does", () => {
		const vfio = new FakeVfio();
		vfio.answers.set(VFIO_DEVICE_GET_INFO, EIO);
		const error = vfioError(() => VfioDevice.open(vfio.kernel, "05:00.0"));
		expect([error instanceof VfioError, error.errno]).toEqual([true, EIO]);
	});

	it("F-04 needs no KVM: a machine without it gets every kind of interrupt", () => {
		const assigned = assign({ config: nicConfig(8, { pin: 2 }) });
		const { device, fn, slot } = assigned;
		expect(slot.kvm).toBeUndefined();
		interrupt(assigned);
		expect(slot.pins[2]).toBe(true);
		enableMsi(assigned);
		device.message(1, 0);
		device.fake.settle();
		program(fn, 1);
		msixControl(fn, MSIX_ON);
		device.message(2, 1);
		device.fake.settle();
		expect(slot.messages.length).toBe(2);
	});
});
