import { describe, expect, it } from "vitest";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import type { AssignOptions } from "../../../core/pci/mod.ts";
import { assign, nicConfig } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { FakeDevice } from "../support/fake-vfio-device.ts";

describe("INTx", () => {
	it("I-04 arms it with one eventfd at attach, and I-05 leaves BARs mapped", () => {
		const device = new FakeDevice({
			config: nicConfig(8, { pin: 2 }),
			regions: { 0: { size: 0x10000, mappable: true } },
			irqs: [1, 4, 8, 0, 0],
		});
		const fn = AssignedFunction.attach(device);
		expect(device.take("set").map((call) => call.replace(/\d{3}/g, "fd"))).toEqual(["set 0 0 [fd]"]);
		expect(fn.directAreas(0).length).toBe(2);
		expect(fn.interruptMode).toBe("intx");
		expect(fn.configRead(0x3d, 1)).toBe(2);
	});

	it("I-04 does nothing for a device without a pin", () => {
		const { device, fn } = assign({ config: nicConfig(8, { pin: 0 }) });
		expect(fn.interruptMode).toBe("none");
		expect(device.irqState[0]?.active).toBe(false);
	});

	it("T-04 does nothing when it is switched off, and names what is valid", () => {
		const { fn, device } = assign({}, { intx: "off" });
		expect(fn.interruptMode).toBe("none");
		expect(device.irqState[0]?.active).toBe(false);
		const error = vfioError(() => assign({}, { intx: "on" } as unknown as AssignOptions));
		expect(error.code).toBe("invalid-argument");
		expect(error.message).toBe('Cannot use "on" for intx: it is "auto" or "off"');
	});

	it("I-02 I-03 raises the pin, and takes the next access to a BAR for the end of the interrupt", () => {
		const { device, fn, slot } = assign({ config: nicConfig(8, { pin: 3 }) });
		device.setLine(true);
		device.fake.settle();
		expect(slot.pins[3]).toBe(true);
		device.setLine(false);
		fn.barRead(0, 0x10, 4);
		expect(slot.pins[3]).toBe(false);
		expect(device.take().slice(-2)).toEqual(["read 0 10", "unmask 0"]);
		fn.barRead(0, 0x10, 4);
		expect(device.take("unmask")).toEqual([]);
	});

	it("takes the machine's word for the end of the interrupt, without an access", () => {
		const { device, fn, slot } = assign();
		device.setLine(true);
		device.fake.settle();
		device.setLine(false);
		fn.endOfInterrupt(2);
		expect(slot.pins[1]).toBe(true);
		fn.endOfInterrupt(1);
		expect(slot.pins[1]).toBe(false);
		expect(device.take("unmask").length).toBe(1);
		fn.endOfInterrupt(1);
		expect(device.take("unmask")).toEqual([]);
	});

	it("is raised again at once when the line is still asserted", () => {
		const { device, fn, slot } = assign();
		device.setLine(true);
		device.fake.settle();
		fn.barWrite(2, 4, 4, 1);
		expect(slot.pins[1]).toBe(false);
		device.fake.settle();
		expect(slot.pins[1]).toBe(true);
	});

	it.each([
		["a read", (fn: AssignedFunction) => fn.barRead(0, 0, 4)],
		["a write", (fn: AssignedFunction) => fn.barWrite(0, 0, 4, 0)],
		["a 64-bit read", (fn: AssignedFunction) => fn.barRead64(0, 0)],
		["a 64-bit write", (fn: AssignedFunction) => fn.barWrite64(0, 0, 0n)],
		["a port", (fn: AssignedFunction) => fn.barRead(2, 0, 1)],
	] as const)("R-04 takes %s for the end of the interrupt, even when it fails", (_, access) => {
		const { device, fn, slot } = assign();
		device.failing = ["read 0", "write 0", "read 2"];
		device.setLine(true);
		device.fake.settle();
		access(fn);
		expect(slot.pins[1]).toBe(false);
		expect(device.masked).toBe(true);
	});

	it("I-05 Z-8 traps BARs from the first interrupt until 1100 ms after the last", () => {
		const { device, fn, slot } = assign();
		const mapped = () => fn.directAreas(0).length > 0;
		const interrupt = () => {
			device.setLine(true);
			device.fake.settle();
			device.setLine(false);
			fn.barRead(0, 0, 4);
		};
		expect(mapped()).toBe(true);
		interrupt();
		expect(mapped()).toBe(false);
		expect(slot.changes).toEqual([0]);
		device.fake.clock.advance(1000);
		interrupt();
		device.fake.clock.advance(1099);
		expect(mapped()).toBe(false);
		device.fake.clock.advance(1);
		expect(mapped()).toBe(true);
		expect(slot.changes).toEqual([0, 0]);
		expect(device.fake.clock.timers).toEqual([]);
	});

	it("I-05 keeps BARs trapped as long as the guest has not served the interrupt", () => {
		const { device, fn } = assign({}, { intxMmapTimeout: 10 });
		device.setLine(true);
		device.fake.settle();
		device.setLine(false);
		device.fake.clock.advance(95);
		expect(fn.directAreas(0)).toEqual([]);
		fn.barRead(0, 0, 4);
		device.fake.clock.advance(10);
		expect(fn.directAreas(0).length).toBe(2);
	});

	it("I-05 keeps BARs trapped for good with a timeout of 0", () => {
		const { device, fn } = assign({}, { intxMmapTimeout: 0 });
		device.setLine(true);
		device.fake.settle();
		fn.barRead(0, 0, 4);
		device.fake.clock.advance(1e9);
		expect(fn.directAreas(0)).toEqual([]);
		expect(device.fake.clock.timers).toEqual([]);
	});

	it("I-06 stops the timer, lowers the pin and maps BARs again when the guest goes to MSI", () => {
		const { device, fn, slot } = assign();
		device.setLine(true);
		device.fake.settle();
		fn.configWrite(0x52, 2, 1);
		expect(slot.pins[1]).toBe(false);
		expect(fn.directAreas(0).length).toBe(2);
		expect(device.fake.clock.timers).toEqual([]);
		device.fake.settle();
		expect(slot.pins[1]).toBe(false);
	});

	it("I-07 Z-11 leaves nothing behind when the kernel refuses", () => {
		const device = new FakeDevice({
			config: nicConfig(),
			irqs: [1, 4, 8, 1, 1],
			regions: { 0: { size: 0x10000, mappable: true } },
		});
		device.failing = ["set 0"];
		expect(() => AssignedFunction.attach(device)).toThrow("set 0");
		expect(device.held).toBe(0);
	});

	it("I-08 reports what the kernel refuses later", () => {
		const { device, fn, slot, reports } = assign();
		device.failing = ["unmask", "disable 0"];
		device.setLine(true);
		device.fake.settle();
		fn.barRead(0, 0, 4);
		expect(slot.pins[1]).toBe(false);
		fn.unplug();
		expect(reports.length).toBe(2);
	});

	it("is silent while COMMAND disables it, and speaks up afterwards", () => {
		const { device, fn, slot } = assign();
		device.setLine(true);
		device.fake.settle();
		fn.configWrite(4, 2, 0x0402);
		expect(slot.pins[1]).toBe(false);
		fn.configWrite(4, 2, 0x0002);
		expect(slot.pins[1]).toBe(true);
	});

	it("raises the pin when the function is plugged in after its interrupt", () => {
		const device = new FakeDevice({ config: nicConfig(8, { capabilities: [] }), irqs: [1] });
		const fn = AssignedFunction.attach(device);
		device.setLine(true);
		device.fake.settle();
		const slot = new FakeSlot();
		fn.plug(slot);
		expect(slot.pins[1]).toBe(true);
	});
});
