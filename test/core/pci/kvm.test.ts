import { describe, expect, it } from "vitest";
import { KernelError } from "../../../core/errors.ts";
import type { AssignOptions } from "../../../core/pci/mod.ts";
import { EMFILE } from "../../../core/uapi/errno.ts";
import { assign, MSI_AT, MSIX_MASKALL, MSIX_ON, msixControl, program, TABLE } from "../support/assigned.ts";
import { FakeKvm } from "../support/fake-kvm.ts";
import { FakeSlot } from "../support/fake-slot.ts";

function withKvm(options: AssignOptions = {}, failing: string[] = []) {
	const slot = new FakeSlot();
	const kvm = new FakeKvm();
	kvm.failing = failing;
	slot.kvm = kvm;
	const made = assign({}, options, slot);
	const settle = () => {
		kvm.run(made.device.fake);
		made.device.fake.settle();
	};
	return { ...made, kvm, settle };
}
const fd = (calls: string[]) => calls.map((call) => call.replace(/\d{3}/g, "fd"));

describe("INTx with KVM", () => {
	it("is handed over when the function is plugged in: masked, connected, resampled by VFIO, unmasked", () => {
		const slot = new FakeSlot();
		const kvm = new FakeKvm();
		slot.kvm = kvm;
		const { device, fn } = assign();
		fn.unplug();
		const second = assign({}, {}, slot);
		expect(kvm.take()).toEqual(["intx 1"]);
		expect(second.device.unmaskFd).toBe(kvm.intx?.resample);
		expect(second.device.fake.watches.has(kvm.intx?.trigger ?? 0)).toBe(false);
		expect(device.held).toBe(device.mappings.size);
	});

	it("neither traps BARs nor wakes this process", () => {
		const { device, fn, kvm, slot, settle } = withKvm();
		device.setLine(true);
		settle();
		expect([kvm.pinRaised, slot.pins[1], fn.directAreas(0).length > 0]).toEqual([true, false, true]);
		expect(device.fake.clock.timers).toEqual([]);
		device.take();
		fn.barRead(2, 0, 1);
		expect(device.take("unmask")).toEqual([]);
		expect(kvm.endOfInterrupt(device.fake)).toBe(true);
	});

	it.each([
		["KVM refuses the pin", (kvm: FakeKvm) => kvm.failing.push("intx 1")],
		["the pin leads nowhere", (kvm: FakeKvm) => Object.assign(kvm, { routed: false })],
	])("goes on through this process when %s, unmasked", (_, arrange) => {
		const slot = new FakeSlot();
		const kvm = new FakeKvm();
		arrange(kvm);
		slot.kvm = kvm;
		const { device, fn } = assign({}, {}, slot);
		expect(device.masked).toBe(false);
		device.setLine(true);
		device.fake.settle();
		expect(slot.pins[1]).toBe(true);
		fn.barRead(2, 0, 1);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it.each(["mask 0", "set-unmask", "eventfd"])("leaves nothing behind when the kernel refuses: %s", (what) => {
		const { device, fn, kvm } = withKvm();
		kvm.take();
		if (what === "eventfd") {
			const { eventfd } = device.fake;
			device.fake.eventfd = () => {
				device.fake.eventfd = eventfd;
				throw new KernelError(EMFILE, "eventfd", "test");
			};
		} else device.failing = [what];
		fn.interruptRouteChanged();
		device.failing = [];
		expect(kvm.intx).toBeUndefined();
		device.setLine(true);
		device.fake.settle();
		expect(fn.directAreas(0)).toEqual([]);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it("is connected anew when its route changes", () => {
		const { fn, kvm, device } = withKvm();
		kvm.take();
		device.take();
		fn.interruptRouteChanged();
		expect(kvm.take()).toEqual(["intx off", "intx 1"]);
		expect(fd(device.take())).toEqual(["mask 0", "set-unmask -1", "unmask 0", "mask 0", "set-unmask fd", "unmask 0"]);
		kvm.routed = false;
		fn.interruptRouteChanged();
		expect([kvm.intx, device.masked]).toEqual([undefined, false]);
	});

	it("hands over one that is pending without losing it: a line that is still asserted comes again", () => {
		const { device, fn, kvm, slot, settle } = withKvm();
		kvm.routed = false;
		fn.interruptRouteChanged();
		device.setLine(true);
		settle();
		expect(slot.pins[1]).toBe(true);
		kvm.routed = true;
		fn.interruptRouteChanged();
		settle();
		expect([slot.pins[1], kvm.pinRaised, fn.directAreas(0).length > 0]).toEqual([false, true, true]);
	});

	it("is left with MSI-X, comes back after it, and gives everything back", () => {
		const { device, fn, kvm } = withKvm();
		msixControl(fn, MSIX_ON);
		expect([kvm.intx, fn.interruptMode]).toEqual([undefined, "msix"]);
		msixControl(fn, 0);
		expect(kvm.intx?.pin).toBe(1);
		fn.reset();
		expect(kvm.intx?.pin).toBe(1);
		fn.unplug();
		fn[Symbol.dispose]();
		expect([kvm.intx, device.held]).toEqual([undefined, 0]);
	});

	it("stays in this process when the option says so", () => {
		const { kvm } = withKvm({ kvm: { intx: false } });
		expect(kvm.take()).toEqual([]);
	});
});

describe("MSI-X with KVM", () => {
	it("commits all routes once, then connects them, and enables with at most two calls", () => {
		const { device, fn, kvm, slot, settle } = withKvm();
		for (let vector = 0; vector < 8; vector++) program(fn, vector);
		kvm.take();
		device.take();
		msixControl(fn, MSIX_ON);
		expect(kvm.take().slice(1)).toEqual([...Array(8).fill("route"), "commit", ...Array(8).fill("connect")]);
		expect(device.take("set 2").length).toBeLessThanOrEqual(2);
		device.message(2, 5);
		settle();
		expect([kvm.delivered, slot.messages]).toEqual([["fee00050=45"], []]);
	});

	it("swaps a masked vector to its other eventfd, pends what arrives, and swaps it back", () => {
		const { device, fn, kvm, slot, settle } = withKvm();
		for (let vector = 0; vector < 2; vector++) program(fn, vector);
		msixControl(fn, MSIX_ON);
		const direct = device.irqState[2]?.fds[1];
		device.take();
		fn.barWrite(0, TABLE + 16 + 12, 4, 1);
		expect(fd(device.take())).toEqual(["set 2 1 [fd]"]);
		expect(device.irqState[2]?.fds[1]).not.toBe(direct);
		device.message(2, 1);
		settle();
		expect([kvm.delivered, slot.messages, fn.barRead(0, 0x3000, 4)]).toEqual([[], [], 2]);
		kvm.take();
		fn.barWrite(0, TABLE + 16 + 8, 4, 0x77);
		fn.barWrite(0, TABLE + 16 + 12, 4, 0);
		expect(device.irqState[2]?.fds[1]).toBe(direct);
		expect(slot.messages).toEqual(["fee00010=77"]);
		expect(kvm.take()).toEqual(["update", "commit"]);
		device.message(2, 1);
		settle();
		expect(kvm.delivered).toEqual(["fee00010=77"]);
	});

	it("swaps all of them with one call under the function mask", () => {
		const { device, fn, kvm, slot, settle } = withKvm();
		for (let vector = 0; vector < 8; vector++) program(fn, vector);
		msixControl(fn, MSIX_ON);
		device.take();
		msixControl(fn, MSIX_ON | MSIX_MASKALL);
		expect(device.take("set 2").length).toBe(1);
		device.message(2, 3);
		settle();
		expect([kvm.delivered, slot.messages]).toEqual([[], []]);
		msixControl(fn, MSIX_ON);
		expect(device.take("set 2").length).toBe(1);
		expect(slot.messages).toEqual(["fee00030=43"]);
		device.message(2, 3);
		settle();
		expect(kvm.delivered).toEqual(["fee00030=43"]);
	});

	it("sends a message that the guest changes without masking", () => {
		const { device, fn, kvm, settle } = withKvm();
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		fn.barWrite(0, TABLE + 8, 4, 0x99);
		device.message(2, 0);
		settle();
		expect(kvm.delivered).toEqual(["fee00000=99"]);
	});

	it.each([
		["route", ["route"]],
		["commit", ["commit"]],
		["connect", ["connect"]],
	])("Z-12 delivers through this process what KVM refuses, and removes what it took: %s", (_, failing) => {
		const { device, fn, kvm, slot, settle } = withKvm({}, failing);
		program(fn, 0);
		program(fn, 1);
		msixControl(fn, MSIX_ON);
		device.message(2, 1);
		settle();
		expect([kvm.delivered, slot.messages, kvm.routes.size]).toEqual([[], ["fee00010=41"], 0]);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it("gives back routes and eventfds when it is switched off", () => {
		const { device, fn, kvm } = withKvm();
		for (let vector = 0; vector < 8; vector++) program(fn, vector);
		msixControl(fn, MSIX_ON);
		msixControl(fn, 0);
		expect(kvm.routes.size).toBe(0);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it("stays in this process when the option says so", () => {
		const { fn, kvm } = withKvm({ kvm: { msix: false } });
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		expect(kvm.routes.size).toBe(0);
	});
});

describe("MSI with KVM", () => {
	const enable = (fn: ReturnType<typeof withKvm>["fn"], vectors = 2) => {
		fn.configWrite(MSI_AT + 4, 4, 0xfee00000);
		fn.configWrite(MSI_AT + 12, 2, 0x50);
		fn.configWrite(MSI_AT + 2, 2, (Math.log2(vectors) << 4) | 1);
	};

	it("commits once, sends each vector's message, and follows the guest's changes", () => {
		const { device, fn, kvm, settle } = withKvm();
		kvm.take();
		enable(fn, 4);
		expect(kvm.take().filter((call) => call === "commit").length).toBe(1);
		device.message(1, 3);
		settle();
		fn.configWrite(MSI_AT + 12, 2, 0x60);
		device.message(1, 1);
		settle();
		expect(kvm.delivered).toEqual(["fee00000=53", "fee00000=61"]);
	});

	it.each(["route", "commit", "connect"])("delivers through this process what KVM refuses: %s", (what) => {
		const { device, fn, kvm, slot, settle } = withKvm({}, [what]);
		enable(fn);
		device.message(1, 1);
		settle();
		expect([kvm.delivered, slot.messages, kvm.routes.size]).toEqual([[], ["fee00000=51"], 0]);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it("gives back what it has too much when the host has fewer vectors", () => {
		const { device, fn, kvm } = withKvm();
		device.available = 1;
		enable(fn, 4);
		expect([kvm.routes.size, fn.interruptMode]).toEqual([1, "msi"]);
		fn.configWrite(MSI_AT + 2, 2, 0);
		expect(kvm.routes.size).toBe(0);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});
});
