import { describe, expect, it } from "vitest";
import { PciTopology, parseSlotAddress, RootBus, RootPort } from "../../../core/machine/mod.ts";
import { FakeFunction, FakeUpstream } from "./fake-function.ts";

const at = (text: string) => ({ address: parseSlotAddress(text) });

describe("RootBus.plug()", () => {
	it("gives the function a slot of the bus's kind", () => {
		const fn = new FakeFunction();
		new RootBus(new FakeUpstream()).plug(fn, { ...at("5"), multifunction: true });
		expect(fn.slot).toMatchObject({ bus: "root-complex", multifunction: true });
		const conventional = new FakeFunction();
		new RootBus(new FakeUpstream(), { kind: "conventional" }).plug(conventional);
		expect(conventional.slot?.bus).toBe("conventional");
	});

	it("takes the first free slot when no address is given, past reserved ones", () => {
		const root = new RootBus(new FakeUpstream());
		root.reserve({ device: 0, function: 0 }, "the host bridge");
		root.plug(new FakeFunction(), at("1.0"));
		expect(root.plug(new FakeFunction())).toEqual({ device: 2, function: 0 });
	});

	it("refuses when no slot is free", () => {
		const root = new RootBus(new FakeUpstream());
		for (let device = 0; device < 32; device++) root.plug(new FakeFunction());
		expect(() => root.plug(new FakeFunction("one more"))).toThrow("Cannot plug one more into pcie.0: no slot is free");
	});

	it("refuses a slot that is taken or reserved", () => {
		const root = new RootBus(new FakeUpstream());
		root.reserve({ device: 1, function: 0 }, "the ISA bridge");
		root.plug(new FakeFunction("first"), at("5"));
		expect(() => root.plug(new FakeFunction(), at("5"))).toThrow("slot 05.0: first is there");
		expect(() => root.plug(new FakeFunction(), at("1.3"))).toThrow("slot 01.3: the ISA bridge is there");
	});

	it("refuses a second function beside a single-function function 0", () => {
		const root = new RootBus(new FakeUpstream());
		root.plug(new FakeFunction("zero"), at("5"));
		expect(() => root.plug(new FakeFunction(), at("5.1"))).toThrow(
			/single function device can't be populated in bus pcie.0 function 05.1/,
		);
	});

	it("refuses a single-function function 0 beside others", () => {
		const root = new RootBus(new FakeUpstream());
		root.plug(new FakeFunction(), at("5.1"));
		expect(() => root.plug(new FakeFunction(), at("5.0"))).toThrow(
			/05.0 indicates single function, but 05.1 is already populated/,
		);
		root.plug(new FakeFunction(), { ...at("5.0"), multifunction: true });
	});

	it("accepts a second function where function 0 shows the bit of its own accord", () => {
		const root = new RootBus(new FakeUpstream());
		const zero = new FakeFunction();
		zero.config.setUint8(0x0e, 0x80);
		root.plug(zero, at("5"));
		expect(root.plug(new FakeFunction(), at("5.7"))).toEqual({ device: 5, function: 7 });
	});

	it("leaves the slot free when the function refuses", () => {
		const root = new RootBus(new FakeUpstream());
		const bad = new FakeFunction("bad");
		bad.plug = (slot) => {
			slot.setPin(1, true);
			throw new Error("no");
		};
		expect(() => root.plug(bad, at("5"))).toThrow("no");
		expect(root.functions).toEqual([]);
		root.plug(new FakeFunction(), at("5"));
	});
});

describe("PciBus.functionAt()", () => {
	it("hides functions 1 to 7 while there is no function 0", () => {
		const root = new RootBus(new FakeUpstream());
		const [one, zero] = [new FakeFunction(), new FakeFunction()];
		root.plug(one, at("5.1"));
		expect(root.functionAt(0x29)).toBeUndefined();
		root.plug(zero, { ...at("5.0"), multifunction: true });
		expect(root.functionAt(0x29)).toBe(one);
		root.unplug(zero);
		expect(root.functionAt(0x29)).toBeUndefined();
	});
});

describe("PciBus.unplug()", () => {
	it("releases the function's pins and BARs, and its slot is dead afterwards", () => {
		const upstream = new FakeUpstream();
		const root = new RootBus(upstream);
		const fn = new FakeFunction();
		root.plug(fn, at("5"));
		const slot = fn.slot;
		slot?.setPin(1, true);
		slot?.placeBar(0, 0x1000n);
		root.unplug(fn);
		expect(upstream.take()).toEqual(["pin 5 A up", "pin 5 A down"]);
		expect(root.decoder.memory.find(0x1000)).toBeUndefined();
		slot?.setPin(1, true);
		slot?.message(0xfee0_0000n, 1);
		slot?.placeBar(0, 0x1000n);
		slot?.directAreasChanged?.(0);
		expect(upstream.take()).toEqual([]);
		expect(root.decoder.memory.find(0x1000)).toBeUndefined();
		expect(root.addressOf(fn)).toBeUndefined();
		root.unplug(fn);
	});

	it("empties the slot even when the function throws", () => {
		const root = new RootBus(new FakeUpstream());
		const fn = new FakeFunction();
		root.plug(fn, at("5"));
		fn.unplug = () => {
			throw new Error("stuck");
		};
		expect(() => root.unplug(fn)).toThrow("stuck");
		expect(root.functions).toEqual([]);
	});
});

describe("BusSlot.setPin()", () => {
	it("is wired-OR over the functions of a device, and idempotent", () => {
		const upstream = new FakeUpstream();
		const root = new RootBus(upstream);
		const [zero, one] = [new FakeFunction(), new FakeFunction()];
		root.plug(zero, { ...at("3.0"), multifunction: true });
		root.plug(one, at("3.1"));
		zero.slot?.setPin(2, true);
		zero.slot?.setPin(2, true);
		one.slot?.setPin(2, true);
		zero.slot?.setPin(2, false);
		expect(upstream.take()).toEqual(["pin 3 B up"]);
		one.slot?.setPin(2, false);
		one.slot?.setPin(2, false);
		one.slot?.setPin(0, true);
		one.slot?.setPin(5, true);
		expect(upstream.take()).toEqual(["pin 3 B down"]);
	});
});

describe("BusSlot.placeBar()", () => {
	it("decodes by the kind of the BAR", () => {
		const root = new RootBus(new FakeUpstream());
		const fn = new FakeFunction("fake", [
			{ kind: "io", size: 0x20 },
			{ kind: "mem64", size: 0x1000 },
		]);
		root.plug(fn);
		fn.slot?.placeBar(0, 0xc000n);
		fn.slot?.placeBar(1, 0x12_0000_0000n);
		fn.slot?.placeBar(3, 0x5000n);
		expect(root.decoder.io.find(0xc01f)).toMatchObject({ bar: 0 });
		expect(root.decoder.memory.find(0x12_0000_0fff)).toMatchObject({ bar: 1 });
		expect(root.decoder.memory.find(0xc000)).toBeUndefined();
		expect(root.decoder.memory.find(0x5000)).toBeUndefined();
	});

	it("decodes nowhere at the address of a BAR being sized", () => {
		const root = new RootBus(new FakeUpstream());
		const fn = new FakeFunction("fake", [{ kind: "mem64", size: 0x1000 }]);
		root.plug(fn);
		fn.slot?.placeBar(0, 0xffff_ffff_ffff_f000n);
		expect(root.decoder.memory.segments(fn, 0)).toEqual([]);
	});
});

describe("PciTopology", () => {
	it("bus() knows the root bus and each root port by name, and says which there are", () => {
		const pci = new PciTopology(new FakeUpstream());
		const port = pci.addRootPort("rp1");
		expect(pci.bus("pcie.0")).toBe(pci.root);
		expect(pci.bus("rp1")).toBe(port.secondary);
		expect(() => pci.bus("rp2")).toThrow('Cannot use bus "rp2": there is no such bus');
	});

	it("addRootPort() refuses a name twice, and an empty one", () => {
		const pci = new PciTopology(new FakeUpstream());
		pci.addRootPort("rp1");
		expect(() => pci.addRootPort("rp1")).toThrow(/a bus of that name already/);
		expect(() => pci.addRootPort("pcie.0")).toThrow(/a bus of that name already/);
		expect(() => pci.addRootPort("")).toThrow(/its id is empty/);
	});

	it("plug() allows only slot 0 below a root port", () => {
		const pci = new PciTopology(new FakeUpstream());
		pci.addRootPort("rp1");
		const fn = new FakeFunction();
		expect(() => pci.plug(fn, { bus: "rp1", ...at("1") })).toThrow(/rp1 has only slot 0/);
		expect(pci.plug(fn, { bus: "rp1" }).address).toEqual({ device: 0, function: 0 });
		expect(fn.slot?.bus).toBe("downstream-port");
	});

	it("unplug() finds the bus, and a port takes along what is below it", () => {
		const pci = new PciTopology(new FakeUpstream());
		const port = pci.addRootPort("rp1");
		const [below, beside] = [new FakeFunction("below"), new FakeFunction("beside")];
		pci.plug(below, { bus: "rp1" });
		pci.plug(beside);
		pci.unplug(beside);
		pci.unplug(beside);
		pci.unplug(port);
		expect(beside.take()).toContain("unplug");
		expect(below.take()).toContain("unplug");
		expect(pci.busNames).toEqual(["pcie.0"]);
	});

	it("dispose unplugs everything and disposes of nothing", () => {
		const pci = new PciTopology(new FakeUpstream());
		const fn = new FakeFunction();
		pci.plug(fn);
		pci[Symbol.dispose]();
		expect(fn.take().filter((call) => !call.startsWith("config"))).toEqual(["unplug"]);
	});
});

describe("RootPort.plug()", () => {
	it("refuses a bus that is no root complex", () => {
		const root = new RootBus(new FakeUpstream(), { kind: "conventional" });
		expect(() => root.plug(new RootPort("rp1"))).toThrow(/a root port goes into a root complex/);
		expect(() => new RootPort("rp1").secondary).toThrow(/the port is in no bus itself/);
	});
});
