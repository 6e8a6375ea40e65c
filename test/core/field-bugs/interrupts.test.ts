// What users of other programs met with interrupts; the ids are those of the collection.
import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import { planBar } from "../../../core/pci/bar-areas.ts";
import { readMsix } from "../../../core/pci/msix-capability.ts";
import { VFIO_DEVICE_SET_IRQS, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX } from "../../../core/uapi/vfio.ts";
import { assign, MSI_AT, MSIX_AT, MSIX_ON, msixControl, nicConfig, PBA, program, TABLE } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeKvm } from "../support/fake-kvm.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { configSpace, msiBody, msixBody } from "../support/pci-config.ts";

describe("MSI in the field", () => {
	it.each([
		["MSI", MSI_AT, 5, "msi"],
		["MSI-X", MSIX_AT, 0x11, "msix"],
	] as const)("MSI-01 switches %s on by a write of any width, once, and id and pointer stay", (_, at, id, mode) => {
		for (const width of [1, 2, 4] as const) {
			const { device, fn } = assign();
			const before = fn.configRead(at, 2);
			expect(before & 0xff).toBe(id);
			const offset = mode === "msix" && width === 1 ? at + 3 : width === 4 ? at : at + 2;
			const bit = mode === "msi" ? 1 : width === 1 ? 0x80 : 0x8000;
			const value = width === 4 ? (bit * 0x10000 + 0xffff) >>> 0 : bit;
			fn.configWrite(offset, width as AccessWidth, value);
			expect(fn.interruptMode).toBe(mode);
			fn.configWrite(offset, width as AccessWidth, value);
			expect(fn.configRead(at, 2)).toBe(before);
			const index = mode === "msi" ? 1 : 2;
			expect(device.calls.filter((call) => call.startsWith(`set ${index} 0`)).length).toBe(1);
		}
	});

	it("MSI-06 takes a positive answer for how many to ask for: 4 become 1, and both are told", () => {
		const { device, fn, reports } = assign({ available: 1 });
		fn.configWrite(MSI_AT + 2, 2, 0x21);
		const asked = device.calls.filter((call) => call.startsWith("set 1")).map((call) => call.split(",").length);
		expect(asked).toEqual([4, 1]);
		expect([fn.interruptMode, device.irqState[1]?.fds.length]).toEqual(["msi", 1]);
		expect(reports).toEqual(["Cannot use 4 MSI vectors of 0000:05:00.0: the host has 1"]);
	});

	it("MSI-09 never asks the kernel to mask MSI or MSI-X, and says that it cannot when it is asked to", () => {
		const vfio = new FakeVfio();
		const device = VfioDevice.open(vfio.kernel, "05:00.0");
		for (const index of [VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX])
			for (const action of ["mask", "unmask"] as const) {
				const error = vfioError(() => (action === "mask" ? device.maskIrq(index) : device.unmaskIrq(index)));
				expect(error.code).toBe("interrupt-failed");
				expect(error.message).toContain("the kernel does not support that");
			}
		expect(vfio.requests).not.toContain(VFIO_DEVICE_SET_IRQS);
		const { device: fake, fn } = assign();
		for (const vector of [0, 1]) program(fn, vector);
		msixControl(fn, MSIX_ON);
		fn.barWrite(0, TABLE + 12, 4, 1);
		msixControl(fn, 0);
		fn.configWrite(MSI_AT + 2, 2, 1);
		fn.configWrite(MSI_AT + 2, 2, 0);
		expect(fake.calls.filter((call) => /^(un)?mask [12]/.test(call))).toEqual([]);
		expect(fake.calls.filter((call) => /^disable [12]/.test(call))).toEqual(["disable 2", "disable 1"]);
	});
});

describe("MSI-X in the field", () => {
	it("MSX-01 masks the low bits of an offset, and does not shift it", () => {
		const config = configSpace({ capabilities: [[0x70, 0x11, msixBody(8, [3, 0x2000], [3, 0x3000])]] });
		expect(readMsix(config, 0x70)).toMatchObject({
			table: { bar: 3, offset: 0x2000 },
			pba: { bar: 3, offset: 0x3000 },
		});
	});

	it("MSX-04 plans pending bits below the table: two holes, three areas", () => {
		const config = configSpace({
			bars: [0xfe400000],
			capabilities: [[MSIX_AT, 0x11, msixBody(32, [0, 0x8000], [0, 0x1000])]],
		});
		const regions = { 0: { size: 0x10000, mappable: true } };
		const { device, fn } = assign({ config, regions, vectors: 32, irqs: [1, 0, 32, 1, 1] });
		const areas = () => fn.directAreas(0).map(({ start, end }) => [start, end]);
		expect(areas()).toEqual([
			[0, 0x8000],
			[0x9000, 0x10000],
		]);
		// The pending bits are the device's own until one of ours is set.
		msixControl(fn, MSIX_ON);
		fn.barWrite(0, 0x8000 + 12, 4, 0);
		fn.barWrite(0, 0x8000 + 12, 4, 1);
		device.message(2, 0);
		device.fake.settle();
		expect(areas()).toEqual([
			[0, 0x1000],
			[0x2000, 0x8000],
			[0x9000, 0x10000],
		]);
	});

	it("MSX-11 maps nothing of a BAR smaller than a page with the table in it; areas add up to the BAR", () => {
		for (const pageSize of [0x1000, 0x4000, 0x10000])
			for (const size of [0x10, 0x20, 0x100, 0x800])
				for (let offset = 0; offset + 16 <= size; offset += 8) {
					const plan = planBar(
						{ index: 0, kind: "mem32", size, prefetchable: false },
						{ size, mappable: true, msixMappable: false, sparseAreas: undefined },
						{ offset: 0x70, vectors: 1, table: { bar: 0, offset }, pba: { bar: 1, offset: 0 } },
						true,
						pageSize,
						true,
					);
					expect(plan.mapped).toEqual([]);
					expect(plan.areas.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(size);
				}
	});

	it("MSX-17 keeps what arrives while masked: the bit is set, one message at unmask, the bit is clear", () => {
		const { device, fn, slot } = assign();
		for (let vector = 0; vector < 4; vector++) program(fn, vector);
		msixControl(fn, MSIX_ON);
		fn.barWrite(0, TABLE + 32 + 12, 4, 1);
		for (let n = 0; n < 3; n++) {
			device.message(2, 2);
			device.fake.settle();
		}
		expect([fn.barRead(0, PBA, 4), slot.messages]).toEqual([4, []]);
		fn.barWrite(0, TABLE + 32 + 12, 4, 0);
		expect([fn.barRead(0, PBA, 4), slot.messages]).toEqual([0, ["fee00020=42"]]);
	});
});

describe("INTx in the field", () => {
	it.each([[0], [5], [0xff]])("INT-03 asks the kernel for no INTx on pin %i, at attach, reset or otherwise", (pin) => {
		const { device, fn } = assign({ config: nicConfig(8, { pin }) });
		fn.reset();
		msixControl(fn, MSIX_ON);
		msixControl(fn, 0);
		expect(fn.interruptMode).toBe("none");
		fn[Symbol.dispose]();
		expect(device.calls.filter((call) => /^(set|disable|mask|unmask) 0/.test(call))).toEqual([]);
	});

	it("INT-03 asks for none where the kernel has none", () => {
		const { device } = assign({ irqs: [0, 4, 8, 1, 1] });
		expect(device.calls.filter((call) => call.startsWith("set 0"))).toEqual([]);
	});

	it("INT-04 needs no BAR access where the machine sees the end of an interrupt, and comes again while asserted", () => {
		const { device, fn, slot } = assign();
		for (let n = 0; n < 3; n++) {
			device.setLine(true);
			device.fake.settle();
			expect(slot.pins[1]).toBe(true);
			device.line = n < 2;
			fn.endOfInterrupt(1);
			expect([slot.pins[1], device.masked]).toEqual([false, n < 2]);
			device.fake.settle();
		}
		expect(slot.pins[1]).toBe(false);
	});

	it("INT-04 registers an eventfd that unmasks with INTx, and with nothing else, where KVM ends interrupts", () => {
		const slot = new FakeSlot();
		const kvm = new FakeKvm();
		slot.kvm = kvm;
		const { device, fn } = assign({}, {}, slot);
		expect(device.unmaskFd).toBe(kvm.intx?.resample);
		msixControl(fn, MSIX_ON);
		expect(device.unmaskFd).toBe(-1);
	});

	it.each([["intx"], ["msi"], ["msix"]] as const)("INT-05 ends in no mode when it began in %s", (mode) => {
		const { device, fn } = assign();
		if (mode === "msi") fn.configWrite(MSI_AT + 2, 2, 1);
		if (mode === "msix") msixControl(fn, MSIX_ON);
		expect(fn.interruptMode).toBe(mode);
		fn[Symbol.dispose]();
		expect([fn.interruptMode, device.held]).toEqual(["none", 0]);
	});

	it("INT-07 unplugs a device without a pin, and tells the real error of a failed attach", () => {
		const config = configSpace({ pin: 0, capabilities: [[MSI_AT, 5, msiBody()]] });
		const { device, fn } = assign({ config, regions: {}, irqs: [0, 1, 0, 0, 0] });
		fn.unplug();
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
		expect(vfioError(() => assign({ config }, { intxMmapTimeout: -1 })).message).toContain("-1 for intxMmapTimeout");
	});
});
