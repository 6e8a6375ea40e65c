import { describe, expect, it } from "vitest";
import type { RootBusKvm } from "../../../core/machine/root-bus.ts";
import { PciTopology } from "../../../core/machine/topology.ts";
import { FakeKvm } from "../support/fake-kvm.ts";
import { FakeFunction } from "./fake-function.ts";

function topology(kvm: RootBusKvm | undefined) {
	return new PciTopology({ pin: () => {}, message: () => {}, kvm });
}

/** KVM as a chipset has it, which writes down where pins come in. */
function rootKvm() {
	const fake = new FakeKvm();
	const pins: string[] = [];
	const kvm: RootBusKvm = {
		connectIntx: (device, pin, trigger, resample) => {
			pins.push(`${device} ${pin}`);
			return fake.connectIntx(pin, trigger, resample);
		},
		addMessageRoute: (address, data) => fake.addMessageRoute(address, data),
		commitRoutes: () => fake.commitRoutes(),
	};
	return { fake, pins, kvm };
}

describe("KVM in a topology", () => {
	it("serves the slots of the root bus, and those below ports with the pin swizzled", () => {
		const { fake, pins, kvm } = rootKvm();
		const pci = topology(kvm);
		pci.addRootPort("rp1", { address: { device: 4, function: 0 } });
		const above = new FakeFunction();
		const below = new FakeFunction();
		pci.plug(above, { address: { device: 2, function: 0 } });
		pci.plug(below, { bus: "rp1" });
		above.slot?.kvm?.connectIntx(3, 10, 11);
		below.slot?.kvm?.connectIntx(2, 12, 13);
		expect(pins).toEqual(["2 3", "4 2"]);
		below.slot?.kvm?.addMessageRoute(0xfee00000n, 1);
		below.slot?.kvm?.commitRoutes();
		expect(fake.take().slice(-2)).toEqual(["route", "commit"]);
	});

	it("is not there where the machine has none, nor in a slot that was emptied", () => {
		const without = new FakeFunction();
		topology(undefined).plug(without);
		expect(without.slot?.kvm).toBeUndefined();
		const pci = topology(rootKvm().kvm);
		const fn = new FakeFunction();
		pci.plug(fn);
		const { slot } = fn;
		expect(slot?.kvm).toBeDefined();
		pci.unplug(fn);
		expect(slot?.kvm).toBeUndefined();
	});

	it("interruptRoutesChanged() reaches every function, through ports too", () => {
		const pci = topology(rootKvm().kvm);
		pci.addRootPort("rp1");
		const heard: string[] = [];
		for (const bus of ["pcie.0", "rp1"]) {
			const fn = new FakeFunction();
			Object.assign(fn, { interruptRouteChanged: () => heard.push(bus) });
			pci.plug(fn, { bus });
		}
		pci.root.interruptRoutesChanged();
		expect(heard.sort()).toEqual(["pcie.0", "rp1"]);
	});
});
