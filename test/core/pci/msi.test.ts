import { describe, expect, it } from "vitest";
import { type Assigned, assign, MSI_AT, MSIX_ON, msixControl } from "../support/assigned.ts";
import { configSpace, msiBody } from "../support/pci-config.ts";

const MASK = MSI_AT + 16;
const PENDING = MSI_AT + 20;

function enable({ fn }: Assigned, order = 0): void {
	fn.configWrite(MSI_AT + 4, 4, 0xfee01000);
	fn.configWrite(MSI_AT + 8, 4, 0);
	fn.configWrite(MSI_AT + 12, 2, 0x4030);
	fn.configWrite(MSI_AT + 2, 2, (order << 4) | 1);
}

describe("MSI", () => {
	it("M-07 arms all vectors the guest allocated with one call, and M-06 numbers their messages", () => {
		const assigned = assign();
		const { device, slot, fn } = assigned;
		enable(assigned, 2);
		expect(device.take("set").map((call) => call.replace(/\d{3}/g, "fd"))).toEqual(["set 1 0 [fd,fd,fd,fd]"]);
		for (const vector of [0, 3]) device.message(1, vector);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee01000=4030", "fee01000=4033"]);
		expect(fn.interruptMode).toBe("msi");
	});

	it("M-06 has its data elsewhere with a 32-bit address", () => {
		const config = configSpace({ capabilities: [[MSI_AT, 5, msiBody({ address64: false })]] });
		const { fn, device, slot } = assign({ config, irqs: [1, 1, 0] });
		fn.configWrite(MSI_AT + 4, 4, 0xfee02000);
		fn.configWrite(MSI_AT + 8, 2, 0x51);
		fn.configWrite(MSI_AT + 2, 2, 1);
		device.message(1, 0);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee02000=51"]);
	});

	it("M-07 retries with what the host has, and Z-7 leaves the guest's queue size alone", () => {
		const assigned = assign({ available: 1 });
		const { device, fn, slot, reports } = assigned;
		enable(assigned, 2);
		expect(device.take("set").length).toBe(2);
		expect(reports[0]).toContain("the host has 1");
		expect(fn.configRead(MSI_AT + 2, 2) & 0x71).toBe(0x21);
		device.message(1, 0);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee01000=4030"]);
		expect(device.fake.eventfds.size).toBe(1 + 2);
	});

	it("M-07 stays without interrupts when the kernel refuses, and nothing is leaked", () => {
		const assigned = assign();
		const { device, fn, reports } = assigned;
		device.failing = ["set 1"];
		enable(assigned, 1);
		expect(fn.interruptMode).toBe("none");
		expect(reports.length).toBe(1);
		expect(device.fake.eventfds.size).toBe(2);
		device.failing = [];
		fn.configWrite(MSI_AT + 2, 2, 0);
		expect(fn.interruptMode).toBe("intx");
	});

	it("does not end in a loop when the host offers more than was asked for", () => {
		const assigned = assign();
		assigned.device.setEventfds = () => 9;
		enable(assigned);
		expect(assigned.fn.interruptMode).toBe("none");
		expect(assigned.reports.length).toBe(1);
	});

	it("uses a new message at once when the guest changes it while enabled", () => {
		const assigned = assign();
		const { device, fn, slot } = assigned;
		enable(assigned);
		fn.configWrite(MSI_AT + 4, 4, 0xfee0f000);
		fn.configWrite(MSI_AT + 12, 2, 0x99);
		device.message(1, 0);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee0f000=99"]);
	});

	it("pends masked vectors and delivers them at unmask", () => {
		const assigned = assign();
		const { device, fn, slot } = assigned;
		fn.configWrite(MASK, 4, 0xffffffff);
		expect(fn.configRead(MASK, 4)).toBe(0xf);
		enable(assigned, 2);
		device.message(1, 1);
		device.message(1, 2);
		device.fake.settle();
		expect(slot.messages).toEqual([]);
		expect(fn.configRead(PENDING, 4)).toBe(0b110);
		fn.configWrite(MASK, 4, 0b1011);
		expect(slot.messages).toEqual(["fee01000=4032"]);
		expect(fn.configRead(PENDING, 4)).toBe(0b010);
		fn.configWrite(PENDING, 4, 0);
		expect(fn.configRead(PENDING, 4)).toBe(0b010);
	});

	it("clamps a queue size above what the device has", () => {
		const assigned = assign();
		enable(assigned, 5);
		expect(assigned.fn.configRead(MSI_AT + 2, 2) & 0x70).toBe(0x20);
		expect(assigned.device.irqState[1]?.fds.length).toBe(4);
	});

	it("clamps a queue size only while it is enabled, as QEMU does", () => {
		const { fn } = assign();
		fn.configWrite(MSI_AT + 2, 2, 0x50);
		expect(fn.configRead(MSI_AT + 2, 2) & 0x71).toBe(0x50);
		fn.configWrite(MSI_AT + 2, 2, 0x51);
		expect(fn.configRead(MSI_AT + 2, 2) & 0x71).toBe(0x21);
	});

	it("C-06 acts on changes of the enable bit only", () => {
		const assigned = assign();
		enable(assigned);
		assigned.device.take();
		assigned.fn.configWrite(MSI_AT + 2, 2, 1);
		assigned.fn.configWrite(MSI_AT + 3, 1, 0);
		expect(assigned.device.take("set")).toEqual([]);
	});

	it("Z-4 M-09 arms one kind at a time, whatever the guest does, and leaves both at the end", () => {
		const assigned = assign();
		const { device, fn } = assigned;
		const active = () => device.irqState.slice(0, 3).map((irq) => irq.active);
		expect(active()).toEqual([true, false, false]);
		enable(assigned);
		expect(active()).toEqual([false, true, false]);
		msixControl(fn, MSIX_ON);
		expect(active()).toEqual([false, false, true]);
		fn.configWrite(MSI_AT + 2, 2, 0);
		expect(active()).toEqual([false, false, true]);
		msixControl(fn, 0);
		expect(active()).toEqual([true, false, false]);
		enable(assigned);
		fn.unplug();
		expect(active()).toEqual([false, false, false]);
		expect(assigned.reports).toEqual([]);
	});
});
