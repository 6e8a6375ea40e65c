import { beforeEach, describe, expect, it } from "vitest";
import { PciTopology, parseSlotAddress, type RootPort } from "../../../core/machine/mod.ts";
import { FakeFunction, FakeUpstream } from "./fake-function.ts";

const COMMAND = 0x04;
const BUSES = 0x18;
const IO_WINDOW = 0x1c;
const MEMORY_WINDOW = 0x20;
const PREFETCHABLE_WINDOW = 0x24;
const SLOT_STATUS = 0x40 + 0x1a;

let upstream: FakeUpstream;
let pci: PciTopology;
let port: RootPort;
let fn: FakeFunction;

beforeEach(() => {
	upstream = new FakeUpstream();
	pci = new PciTopology(upstream);
	port = pci.addRootPort("rp1", { address: parseSlotAddress("8"), aer: true });
	fn = new FakeFunction("below", [
		{ kind: "mem32", size: 0x20_0000 },
		{ kind: "io", size: 0x1000 },
	]);
	pci.plug(fn, { bus: "rp1" });
	fn.take();
});

describe("RootPort registers", () => {
	it("are those of a root port: bridge class, type 1 header, PCI Express type 4 with a slot", () => {
		expect(port.configRead(0x08, 4) >>> 8).toBe(0x06_0400);
		expect(port.configRead(0x0e, 1)).toBe(1);
		expect(port.configRead(0x34, 1)).toBe(0x40);
		expect(port.configRead(0x40, 1)).toBe(0x10);
		expect(port.configRead(0x42, 2)).toBe(0x0142);
		expect(port.configRead(0x54, 4) >>> 19).toBe(1);
		expect(port.configRead(0x100, 4)).toBe(0x0002_0001);
	});

	it("show the multifunction bit, other ids, and no AER when asked", () => {
		const other = pci.addRootPort("rp2", { multifunction: true, vendor: 0x8086, device: 0x3420, revision: 2 });
		expect(other.configRead(0, 4)).toBe(0x3420_8086);
		expect(other.configRead(0x08, 1)).toBe(2);
		expect(other.configRead(0x0e, 1)).toBe(0x81);
		expect(other.configRead(0x100, 4)).toBe(0);
	});

	it("say whether the slot is occupied and the link up", () => {
		expect(port.configRead(SLOT_STATUS, 2) & 0x40).toBe(0x40);
		expect(port.configRead(0x52, 2) & 0x2000).toBe(0x2000);
		pci.unplug(fn);
		expect(port.configRead(SLOT_STATUS, 2) & 0x40).toBe(0);
		expect(port.configRead(0x52, 2) & 0x2000).toBe(0);
	});

	it("change only where they may, and clear status bits that are written as one", () => {
		port.configWrite(0, 4, 0);
		expect(port.configRead(0, 4)).toBe(0x000c_1b36);
		port.configWrite(COMMAND, 4, 0xffff_ffff);
		expect(port.configRead(COMMAND, 4)).toBe(0x0010_0547);
		port.configWrite(0x3e, 2, 0xffbf);
		expect(port.configRead(0x3e, 2)).toBe(0x0003);
	});

	it("read all ones past the end, and do nothing there", () => {
		expect(port.configRead(4096, 4)).toBe(0xffff_ffff);
		expect(port.configRead(4095, 2)).toBe(0xffff);
		port.configWrite(4095, 2, 0);
		expect(port.bar(0)).toBeUndefined();
	});
});

describe("RootPort configuration forwarding", () => {
	const read = (bus: number, devfn: number) => {
		pci.hostBridge.portWrite(0xcf8, 4, (0x8000_0000 | (bus << 16) | (devfn << 8)) >>> 0);
		return pci.hostBridge.portRead(0xcfc, 2);
	};

	it("reaches nothing before the guest numbers the bus", () => {
		expect([1, 2, 5].map((bus) => read(bus, 0))).toEqual([0xffff, 0xffff, 0xffff]);
	});

	it("reaches the function at the secondary number, as device 0 only", () => {
		port.configWrite(BUSES, 4, 0x0007_0500);
		expect(read(5, 0)).toBe(0x1234);
		expect(read(5, 8)).toBe(0xffff);
		expect(read(6, 0)).toBe(0xffff);
		expect(read(4, 0)).toBe(0xffff);
		port.configWrite(0x19, 1, 6);
		expect([read(5, 0), read(6, 0)]).toEqual([0xffff, 0x1234]);
	});
});

describe("RootPort windows", () => {
	it("forward memory within them, whatever the BAR's size", () => {
		fn.slot?.placeBar(0, 0xfe00_0000n);
		expect(pci.decoder.memory.find(0xfe00_0000)).toBeUndefined();
		port.configWrite(MEMORY_WINDOW, 4, 0xfe00_fe00);
		expect(pci.decoder.memory.find(0xfe00_0000)).toBeUndefined();
		port.configWrite(COMMAND, 2, 2);
		expect(pci.decoder.memory.segments(fn, 0)).toEqual([{ start: 0xfe00_0000, end: 0xfe10_0000 }]);
		port.configWrite(MEMORY_WINDOW, 4, 0xfef0_fe00);
		expect(pci.decoder.memory.segments(fn, 0)).toEqual([{ start: 0xfe00_0000, end: 0xfe20_0000 }]);
		port.configWrite(COMMAND, 2, 0);
		expect(pci.decoder.memory.segments(fn, 0)).toEqual([]);
	});

	it("forward through the prefetchable window above 4 GiB", () => {
		port.configWrite(COMMAND, 2, 2);
		port.configWrite(MEMORY_WINDOW, 4, 0x0000_fff0);
		port.configWrite(PREFETCHABLE_WINDOW, 4, 0x0010_0000);
		port.configWrite(0x28, 4, 0x20);
		port.configWrite(0x2c, 4, 0x20);
		fn.slot?.placeBar(0, 0x20_0000_0000n);
		expect(pci.decoder.memory.segments(fn, 0)).toEqual([{ start: 0x20_0000_0000, end: 0x20_0020_0000 }]);
	});

	it("forward nothing when the base is above the limit", () => {
		port.configWrite(COMMAND, 2, 3);
		port.configWrite(MEMORY_WINDOW, 4, 0xfe00_fe10);
		port.configWrite(IO_WINDOW, 2, 0x20f0);
		fn.slot?.placeBar(0, 0xfe00_0000n);
		fn.slot?.placeBar(1, 0xf000n);
		expect(pci.decoder.memory.segments(fn, 0)).toEqual([]);
		expect(pci.decoder.io.segments(fn, 1)).toEqual([]);
	});

	it("forward I/O in units of 4 KiB", () => {
		port.configWrite(COMMAND, 2, 1);
		port.configWrite(IO_WINDOW, 2, 0xd0c0);
		fn.slot?.placeBar(1, 0xd000n);
		expect(pci.decoder.io.find(0xdfff)).toMatchObject({ function: fn, bar: 1 });
		fn.slot?.placeBar(1, 0xe000n);
		expect(pci.decoder.io.find(0xe000)).toBeUndefined();
	});
});

describe("RootPort interrupts", () => {
	it.each([
		[1, "A"],
		[2, "B"],
		[4, "D"],
	])("pin %i below comes out as INT%s of the port's device", (pin, name) => {
		fn.slot?.setPin(pin, true);
		fn.slot?.setPin(pin, false);
		expect(upstream.take()).toEqual([`pin 8 ${name} up`, `pin 8 ${name} down`]);
	});

	it("hears of the end of an interrupt while it asserts the pin", () => {
		pci.root.endOfInterrupt(8, 2);
		expect(fn.take()).toEqual([]);
		fn.slot?.setPin(2, true);
		pci.root.endOfInterrupt(8, 1);
		pci.root.endOfInterrupt(7, 2);
		expect(fn.take()).toEqual([]);
		pci.root.endOfInterrupt(8, 2);
		expect(fn.take()).toEqual(["endOfInterrupt 2"]);
	});

	it("forwards messages and changes of direct areas", () => {
		fn.slot?.message(0xfee0_0000n, 0x42);
		fn.slot?.directAreasChanged?.(0);
		expect(upstream.take()).toEqual(["message fee00000 42", "direct below 0"]);
	});
});

describe("RootPort reset", () => {
	it("of the bus below resets what is there, once for each time the bit is set", () => {
		port.configWrite(0x3e, 2, 0x40);
		port.configWrite(0x3e, 2, 0x40);
		expect(fn.take()).toEqual(["reset"]);
		port.configWrite(0x3e, 2, 0);
		port.configWrite(0x3e, 2, 0x40);
		expect(fn.take()).toEqual(["reset"]);
	});

	it("of the machine forgets numbers and windows, and reaches down", () => {
		port.configWrite(BUSES, 4, 0x0005_0500);
		port.configWrite(COMMAND, 2, 2);
		port.configWrite(MEMORY_WINDOW, 4, 0xfe00_fe00);
		fn.slot?.placeBar(0, 0xfe00_0000n);
		pci.reset();
		expect(port.secondaryNumber).toBe(0);
		expect(pci.decoder.memory.segments(fn, 0)).toEqual([]);
		expect(fn.take()).toEqual(["reset"]);
		expect(port.configRead(SLOT_STATUS, 2) & 0x40).toBe(0x40);
	});
});

describe("PciTopology", () => {
	/** A function that fails to leave. */
	class Stuck extends FakeFunction {
		override unplug(): void {
			super.unplug();
			throw new Error(`${this.name} does not let go`);
		}
	}

	it("unplug() of a root port takes out everything below, whatever fails there, and forgets the port", () => {
		const first = new Stuck("first");
		const second = new FakeFunction("second");
		pci.addRootPort("rp2");
		pci.plug(first, { bus: "rp2", address: parseSlotAddress("0.0"), multifunction: true });
		pci.plug(second, { bus: "rp2", address: parseSlotAddress("0.1") });
		expect(() => pci.unplug(pci.rootPorts[1] as RootPort)).toThrow("first does not let go");
		expect([first.slot, second.slot, pci.busNames]).toEqual([undefined, undefined, ["pcie.0", "rp1"]]);
	});

	it("dispose takes out everything, whatever fails", () => {
		const other = new FakeFunction("other");
		pci.plug(other);
		const stuck = new Stuck("stuck");
		pci.plug(stuck);
		expect(() => pci[Symbol.dispose]()).toThrow("stuck does not let go");
		expect([fn.slot, stuck.slot, other.slot, pci.root.functions]).toEqual([undefined, undefined, undefined, []]);
	});
});
