import { expect, it } from "vitest";
import { PciTopology } from "../../../core/machine/mod.ts";
import { Peripherals } from "../../../core/qmp/mod.ts";
import { VirtualClock } from "../../../kernel-sim/mod.ts";
import { FakeFunction, FakeUpstream } from "../machine/fake-function.ts";

it("Peripherals.add() takes the device out again when what comes after plugging it in fails", () => {
	const topology = new PciTopology(new FakeUpstream());
	const port = topology.addRootPort("rp1");
	// One megabyte at 0xfe000000: the BAR has no room, which is reported.
	port.configWrite(0x04, 2, 2);
	port.configWrite(0x20, 4, 0xfe00_fe00);
	const fn = new FakeFunction("gpu", [{ size: 2 ** 28 }]);
	const devices = new Peripherals({
		topology,
		clock: new VirtualClock(),
		tell: () => {},
		onReport: (message) => {
			throw new Error(message);
		},
	});
	let closed = 0;
	expect(() =>
		devices.add({ id: "gpu", bus: "rp1" }, () => ({ function: fn, [Symbol.dispose]: () => void closed++ })),
	).toThrow("the guest may fail to use it");
	expect([port.secondary.functions, fn.slot, closed, devices.idOf(fn)]).toEqual([[], undefined, 1, undefined]);
	devices[Symbol.dispose]();
});

it("Peripherals.delete() settles when the device has gone, also when whoever is told of that throws", async () => {
	const topology = new PciTopology(new FakeUpstream());
	const port = topology.addRootPort("rp1");
	const fn = new FakeFunction("disk");
	const devices = new Peripherals({
		topology,
		clock: new VirtualClock(),
		tell: () => {
			throw new Error("nobody listens");
		},
	});
	devices.add({ id: "disk", bus: "rp1" }, () => ({ function: fn, [Symbol.dispose]: () => {} }));
	// The guest: power and indicator on; asked, both off.
	port.configWrite(0x58, 2, 0x01c0);
	const gone = devices.delete("disk");
	expect(() => port.configWrite(0x58, 2, 0x07c0)).toThrow("nobody listens");
	await gone;
	expect(port.secondary.functions).toEqual([]);
	devices[Symbol.dispose]();
});
