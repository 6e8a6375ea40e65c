import { beforeEach, describe, expect, it } from "vitest";
import { type HotPlugEvent, PciTopology, parseSlotAddress, type RootPort } from "../../../core/machine/mod.ts";
import { vfioError } from "../support/error.ts";
import { FakeFunction, FakeUpstream } from "./fake-function.ts";
import {
	ABP,
	CC,
	COMMAND,
	DLLSC,
	INDICATOR_BLINKING,
	INDICATOR_OFF,
	INDICATOR_ON,
	LINK_CONTROL,
	MSI,
	PDC,
	PDS,
	POWER_OFF,
	POWER_ON,
	SLOT_CAPABILITIES,
	SLOT_CONTROL,
	SLOT_STATUS,
	SlotDriver,
} from "./slot-driver.ts";

let upstream: FakeUpstream;
let pci: PciTopology;
let port: RootPort;
let guest: SlotDriver;
let events: string[];

function describeEvent(event: HotPlugEvent): string {
	if (event.type === "unplugged") return `unplugged ${event.function.name}${event.error ? " with an error" : ""}`;
	if (event.type === "unplug-refused") return `refused ${event.occupants.map((each) => each.function.name)}`;
	return `slot ${event.powered ? "on" : "off"} ${event.power} ${event.attention}`;
}

/** Without what the guest did to power and indicators. */
const taken = () => events.splice(0).filter((event) => !event.startsWith("slot"));

/** What the guest reads at bus 1, device 0. */
function vendorBelow(fn = 0): number {
	pci.hostBridge.portWrite(0xcf8, 4, (0x8001_0000 | (fn << 8)) >>> 0);
	return pci.hostBridge.portRead(0xcfc, 2);
}

beforeEach(() => {
	upstream = new FakeUpstream();
	pci = new PciTopology(upstream);
	port = pci.addRootPort("rp1", { address: parseSlotAddress("9") });
	port.configWrite(0x18, 4, 0x0001_0100);
	guest = new SlotDriver(port);
	events = [];
	pci.onHotPlug((event) => events.push(describeEvent(event)));
	guest.start();
	upstream.take();
});

/** A function that the guest has plugged in and uses. */
function inUse(name = "device"): FakeFunction {
	const fn = new FakeFunction(name);
	pci.hotPlug(fn, { bus: "rp1" });
	guest.powerOn();
	guest.takeEvents();
	events.length = 0;
	upstream.take();
	fn.take();
	return fn;
}

const codeOf = (action: () => void) => vfioError(action).code;

describe("a root port's slot", () => {
	it("shows an attention button, a power controller, both indicators and hot plug by surprise", () => {
		expect(port.configRead(SLOT_CAPABILITIES, 4) & 0x7f).toBe(0x7b);
	});

	it("has power and says so when something was in it from the start, and none when it was empty", () => {
		expect(guest.switches).toBe(POWER_OFF | INDICATOR_OFF);
		const other = pci.addRootPort("rp2");
		pci.plug(new FakeFunction(), { bus: "rp2" });
		const driver = new SlotDriver(other);
		expect([driver.switches, driver.status, driver.linkActive]).toEqual([POWER_ON | INDICATOR_ON, PDS, true]);
	});

	it("never reads an indicator as 00, which is reserved", () => {
		guest.command(POWER_ON | INDICATOR_BLINKING);
		port.configWrite(SLOT_CONTROL, 2, 0);
		expect(port.configRead(SLOT_CONTROL, 2)).toBe(0x02c0);
	});

	it("has none of it with the option hotPlug: false", () => {
		const cold = pci.addRootPort("cold", { hotPlug: false });
		expect(cold.hotPlug).toBeUndefined();
		cold.configWrite(SLOT_CONTROL, 2, 0xffff);
		expect([cold.configRead(SLOT_CONTROL, 2), cold.configRead(SLOT_CAPABILITIES, 4) & 0x7f]).toEqual([0, 0]);
		pci.plug(new FakeFunction(), { bus: "cold" });
		expect(new SlotDriver(cold).linkActive).toBe(true);
	});
});

describe("PciTopology.hotPlug()", () => {
	it("tells the guest by the port's own pin, until the guest has seen it", () => {
		pci.hotPlug(new FakeFunction("new"), { bus: "rp1" });
		expect(guest.status).toBe(ABP | PDC | PDS);
		expect(upstream.take()).toEqual(["pin 9 A up"]);
		guest.takeEvents();
		expect(guest.status).toBe(PDS);
		expect(upstream.take()).toEqual(["pin 9 A down"]);
	});

	it("tells it by MSI once for each change from nothing to something", () => {
		port.configWrite(MSI + 4, 4, 0xfee0_0000);
		port.configWrite(MSI + 12, 2, 0x41);
		port.configWrite(MSI + 2, 2, 1);
		pci.hotPlug(new FakeFunction("new"), { bus: "rp1" });
		port.hotPlug?.linkChanged();
		expect(upstream.take()).toEqual(["message fee00000 41"]);
	});

	it("is silent while INTx is disabled, and speaks when it is enabled", () => {
		port.configWrite(COMMAND, 2, 0x400);
		pci.hotPlug(new FakeFunction("new"), { bus: "rp1" });
		expect(upstream.take()).toEqual([]);
		port.configWrite(COMMAND, 2, 0);
		expect(upstream.take()).toEqual(["pin 9 A up"]);
	});

	it("leaves the function without power until the guest switches it on; then the link comes up", () => {
		pci.hotPlug(new FakeFunction("new"), { bus: "rp1" });
		expect([vendorBelow(), guest.linkActive]).toEqual([0xffff, false]);
		guest.takeEvents();
		guest.command(POWER_ON | INDICATOR_BLINKING);
		expect([vendorBelow(), guest.linkActive, guest.status]).toEqual([0x1234, true, PDS | CC | DLLSC]);
	});

	it("brings the link up at once in a slot that has power", () => {
		guest.command(POWER_ON | INDICATOR_OFF);
		guest.takeEvents();
		pci.hotPlug(new FakeFunction("new"), { bus: "rp1" });
		expect([vendorBelow(), guest.status]).toEqual([0x1234, PDS | PDC | ABP | DLLSC]);
	});

	it("places the function's BARs only while it has power", () => {
		port.configWrite(0x20, 4, 0xfe00_fe00);
		port.configWrite(COMMAND, 2, 2);
		const fn = inUse();
		fn.slot?.placeBar(0, 0xfe00_0000n);
		expect(pci.decoder.memory.find(0xfe00_0000)?.function).toBe(fn);
		guest.command(POWER_OFF | INDICATOR_BLINKING);
		expect(pci.decoder.memory.find(0xfe00_0000)).toBeUndefined();
		expect(fn.take()).toContain("reset");
	});

	it("shows the functions of one slot together, when function 0 comes", () => {
		const [one, zero] = [new FakeFunction("one"), new FakeFunction("zero")];
		pci.hotPlug(one, { bus: "rp1", address: parseSlotAddress("0.1") });
		expect([guest.status, upstream.take()]).toEqual([0, []]);
		pci.hotPlug(zero, { bus: "rp1", multifunction: true });
		expect(guest.status).toBe(ABP | PDC | PDS);
		guest.powerOn();
		expect([vendorBelow(0), vendorBelow(1)]).toEqual([0x1234, 0x1234]);
	});

	it("leaves functions alone that the guest does not see yet, whatever it writes", () => {
		const one = new FakeFunction("one");
		pci.hotPlug(one, { bus: "rp1", address: parseSlotAddress("0.1") });
		guest.powerOff();
		expect([taken(), port.secondary.functions]).toEqual([[], [one]]);
	});

	it("leaves the slot as it was when the function refuses", () => {
		const broken = new FakeFunction("broken");
		broken.plug = () => {
			throw new Error("no");
		};
		expect(() => pci.hotPlug(broken, { bus: "rp1" })).toThrow("no");
		expect([guest.status, upstream.take(), port.secondary.functions]).toEqual([0, [], []]);
		pci.hotPlug(new FakeFunction(), { bus: "rp1" });
		expect(guest.status).toBe(ABP | PDC | PDS);
	});
});

describe("PciTopology.checkHotPlug()", () => {
	it("says where a function would go", () => {
		expect(pci.checkHotPlug({ bus: "rp1" })).toEqual({ bus: port.secondary, address: { device: 0, function: 0 } });
	});

	it.each([
		["the root bus", {}, "Cannot hot plug new into pcie.0: pcie.0 has no hot-plug controller", "bus=rp1"],
		[
			"a slot other than 0",
			{ bus: "rp1", address: parseSlotAddress("1") },
			"Cannot hot plug new into rp1 slot 01.0: a root port has only slot 0",
			"Use bus=rp1,addr=0",
		],
		["a port without hot plug", { bus: "cold" }, "root port cold has no hot-plug controller", "hotplug=on"],
		["a slot that is occupied", { bus: "full" }, "old is there", "Unplug old first"],
		[
			"a function that the guest would not look for",
			{ bus: "full", address: parseSlotAddress("0.1") },
			"old is there",
			"before function 0",
		],
	])("refuses %s", (_what, options, message, remedy) => {
		pci.addRootPort("cold", { hotPlug: false });
		pci.addRootPort("full");
		pci.plug(new FakeFunction("old"), { bus: "full" });
		const attempt = () => pci.checkHotPlug(options, "new");
		expect(attempt).toThrow(message);
		expect(codeOf(attempt)).toBe("not-hot-pluggable");
		expect(vfioError(attempt).remedy.join()).toContain(remedy);
		expect(codeOf(() => pci.hotPlug(new FakeFunction("new"), options))).toBe("not-hot-pluggable");
	});

	it("advises to add a port where none is free", () => {
		pci.plug(new FakeFunction(), { bus: "rp1" });
		expect(vfioError(() => pci.checkHotPlug()).remedy[0]).toContain("Add a root port");
	});

	it("says that the guest was asked for what is in the slot, and keeps to the slot's rules", () => {
		const fn = inUse("old");
		pci.requestUnplug(fn);
		expect(() => pci.checkHotPlug({ bus: "rp1" })).toThrow("the guest has not let go of it yet");
		pci.unplug(fn);
		pci.hotPlug(new FakeFunction("one"), { bus: "rp1", address: parseSlotAddress("0.1") });
		expect(codeOf(() => pci.checkHotPlug({ bus: "rp1" }))).toBe("invalid-argument");
		expect(codeOf(() => pci.checkHotPlug({ bus: "nowhere" }))).toBe("invalid-argument");
	});
});

describe("PciTopology.requestUnplug()", () => {
	it("presses the button, and the function leaves when the guest has switched the slot off", () => {
		const fn = inUse();
		expect(pci.requestUnplug(fn)).toBe("requested");
		expect([guest.takeEvents(), upstream.take()]).toEqual([ABP, ["pin 9 A up", "pin 9 A down"]]);
		guest.command(POWER_ON | INDICATOR_BLINKING);
		guest.command(POWER_OFF | INDICATOR_BLINKING);
		expect([taken(), guest.status & PDS]).toEqual([[], PDS]);
		guest.command(POWER_OFF | INDICATOR_OFF);
		expect(taken()).toEqual(["unplugged device"]);
		expect(fn.take()).toContain("unplug");
		expect(guest.status).toBe(CC | PDC | DLLSC);
		guest.command(POWER_OFF | INDICATOR_OFF);
		expect(taken()).toEqual([]);
	});

	it("takes all functions of a slot, one event each, whichever was asked for", () => {
		const [one, zero] = [new FakeFunction("one"), new FakeFunction("zero")];
		pci.hotPlug(one, { bus: "rp1", address: parseSlotAddress("0.1") });
		pci.hotPlug(zero, { bus: "rp1", multifunction: true });
		guest.powerOn();
		pci.requestUnplug(one);
		guest.powerOff();
		expect(taken()).toEqual(["unplugged one", "unplugged zero"]);
		expect(port.secondary.functions).toEqual([]);
	});

	it("takes a function that the guest does not see at once, and only that", () => {
		const [one, two] = [new FakeFunction("one"), new FakeFunction("two")];
		pci.hotPlug(one, { bus: "rp1", address: parseSlotAddress("0.1") });
		pci.hotPlug(two, { bus: "rp1", address: parseSlotAddress("0.2") });
		expect(pci.requestUnplug(one)).toBe("unplugged");
		expect([taken(), guest.status, port.secondary.functions]).toEqual([["unplugged one"], 0, [two]]);
	});

	it("takes what is in a slot that is off at once, and the guest finds no press of the button", () => {
		const fn = new FakeFunction("device");
		pci.hotPlug(fn, { bus: "rp1" });
		expect(pci.requestUnplug(fn)).toBe("unplugged");
		expect([taken(), guest.status]).toEqual([["unplugged device"], PDC]);
	});

	it("is refused while the power indicator blinks", () => {
		const fn = inUse();
		guest.command(POWER_ON | INDICATOR_BLINKING);
		expect(() => pci.requestUnplug(fn)).toThrow(/the guest is in the middle of plugging or unplugging/);
		expect(codeOf(() => pci.requestUnplug(fn))).toBe("guest-busy");
		guest.command(POWER_ON | INDICATOR_ON);
		expect(pci.requestUnplug(fn)).toBe("requested");
	});

	it("waits for a guest that has not booted, and survives what a guest clears when it starts", () => {
		const other = pci.addRootPort("rp2");
		const fn = new FakeFunction("device");
		pci.plug(fn, { bus: "rp2" });
		expect(pci.requestUnplug(fn)).toBe("requested");
		expect(pci.requestUnplug(fn)).toBe("requested");
		other.configWrite(SLOT_STATUS, 2, 0x11f);
		const driver = new SlotDriver(other);
		expect(driver.takeEvents()).toBe(ABP);
		driver.powerOff();
		expect(taken()).toEqual(["unplugged device"]);
	});

	it("is refused on the root bus, below a port without hot plug, and for what is not plugged in", () => {
		pci.addRootPort("cold", { hotPlug: false });
		const [onRoot, cold] = [new FakeFunction("on root"), new FakeFunction("cold")];
		pci.plug(onRoot);
		pci.plug(cold, { bus: "cold" });
		expect(codeOf(() => pci.requestUnplug(onRoot))).toBe("not-hot-pluggable");
		expect(() => pci.requestUnplug(onRoot)).toThrow("Cannot hot unplug on root: pcie.0 has no hot-plug controller");
		expect(codeOf(() => pci.requestUnplug(cold))).toBe("not-hot-pluggable");
		expect(codeOf(() => pci.requestUnplug(new FakeFunction()))).toBe("invalid-argument");
	});

	it("tells of an error while the function is taken out, and it is out", () => {
		const fn = inUse();
		fn.unplug = () => {
			throw new Error("stuck");
		};
		guest.powerOff();
		expect(taken()).toEqual(["unplugged device with an error"]);
		expect(port.secondary.functions).toEqual([]);
	});
});

describe("PciTopology.cancelUnplug()", () => {
	it("withdraws what the guest has not noticed", () => {
		const fn = inUse();
		pci.requestUnplug(fn);
		expect(pci.cancelUnplug(fn)).toBe("cancelled");
		expect([guest.status, upstream.take()]).toEqual([PDS, ["pin 9 A up", "pin 9 A down"]]);
	});

	it("presses the button again while the indicator blinks, and tells when the guest keeps the function", () => {
		const fn = inUse();
		pci.requestUnplug(fn);
		guest.takeEvents();
		guest.command(POWER_ON | INDICATOR_BLINKING);
		guest.takeEvents();
		expect(pci.cancelUnplug(fn)).toBe("requested");
		expect(guest.takeEvents()).toBe(ABP);
		guest.command(POWER_ON | INDICATOR_ON);
		expect(taken()).toEqual(["refused device"]);
		guest.powerOff();
		expect(taken()).toEqual(["unplugged device"]);
	});

	it("presses no button where the guest works in the slot of its own accord", () => {
		const fn = inUse();
		guest.takeEvents();
		guest.command(POWER_ON | INDICATOR_BLINKING);
		guest.takeEvents();
		expect(pci.cancelUnplug(fn)).toBe("cancelled");
		expect(guest.takeEvents()).toBe(0);
	});

	it("has nothing to do where nothing was asked for", () => {
		expect(pci.cancelUnplug(inUse())).toBe("cancelled");
		const onRoot = new FakeFunction();
		pci.plug(onRoot);
		expect(pci.cancelUnplug(onRoot)).toBe("cancelled");
		pci.addRootPort("cold", { hotPlug: false });
		const cold = new FakeFunction();
		pci.plug(cold, { bus: "cold" });
		expect(pci.cancelUnplug(cold)).toBe("cancelled");
	});
});

describe("a slot whose function is pulled out", () => {
	it("loses presence and link, and the guest is told", () => {
		const fn = inUse();
		pci.unplug(fn);
		expect([guest.status, vendorBelow(), taken()]).toEqual([PDC | DLLSC, 0xffff, []]);
		expect(upstream.take()).toEqual(["pin 9 A up"]);
		guest.powerOff();
		expect(taken()).toEqual([]);
		inUse("next");
		expect(vendorBelow()).toBe(0x1234);
	});
});

describe("a link that the guest disables", () => {
	it("goes down and comes up again", () => {
		const fn = inUse();
		port.configWrite(LINK_CONTROL, 2, 0x10);
		expect([guest.linkActive, vendorBelow(), guest.takeEvents()]).toEqual([false, 0xffff, DLLSC]);
		expect(fn.take()).toEqual(["reset"]);
		port.configWrite(LINK_CONTROL, 2, 0);
		expect([guest.linkActive, vendorBelow(), guest.takeEvents()]).toEqual([true, 0x1234, DLLSC]);
	});
});

describe("PciTopology.reset() with a slot", () => {
	it("gives power to what the guest had not taken in yet", () => {
		pci.hotPlug(new FakeFunction(), { bus: "rp1" });
		pci.reset();
		expect([guest.switches, guest.status, guest.linkActive]).toEqual([POWER_ON | INDICATOR_ON, PDS, true]);
		expect(upstream.take()).toEqual(["pin 9 A up", "pin 9 A down"]);
	});

	it("takes out what the guest was asked for, and tells when everything is reset", () => {
		const fn = inUse();
		pci.requestUnplug(fn);
		let control: number | undefined;
		pci.onHotPlug(({ type }) => {
			if (type === "unplugged") control = guest.switches;
		});
		pci.reset();
		expect([taken(), guest.status, control]).toEqual([["unplugged device"], 0, POWER_OFF | INDICATOR_OFF]);
		expect(port.hotPlug?.unplugRequested).toBe(false);
	});
});

describe("PciTopology.onHotPlug()", () => {
	it("tells what the guest switches, and that something failed", () => {
		pci.hotPlug(new FakeFunction(), { bus: "rp1" });
		guest.command(POWER_ON | INDICATOR_BLINKING);
		port.configWrite(SLOT_CONTROL, 2, 0x0740);
		expect(events).toEqual(["slot on blinking off", "slot off off on", "unplugged fake"]);
		expect(port.hotPlug).toMatchObject({ powered: false, powerIndicator: "off", attentionIndicator: "on" });
	});

	it("tells every listener of every function, whatever one of them throws, and the slot is in order", () => {
		const [one, zero] = [new FakeFunction("one"), new FakeFunction("zero")];
		pci.hotPlug(one, { bus: "rp1", address: parseSlotAddress("0.1") });
		pci.hotPlug(zero, { bus: "rp1", multifunction: true });
		guest.powerOn();
		events.length = 0;
		const heard: string[] = [];
		pci.onHotPlug((event) => {
			if (event.type === "unplugged") throw new Error(`cannot give back ${event.function.name}`);
		});
		pci.onHotPlug((event) => event.type === "unplugged" && heard.push(event.function.name));
		expect(() => guest.command(POWER_OFF | INDICATOR_OFF)).toThrow(AggregateError);
		expect([taken(), heard]).toEqual([
			["unplugged one", "unplugged zero"],
			["one", "zero"],
		]);
		expect([guest.status & (PDS | CC), port.secondary.functions]).toEqual([CC, []]);
	});

	it("lets a listener plug the next function into the slot that has just become free", () => {
		const fn = inUse("first");
		const listening = pci.onHotPlug((event) => {
			if (event.type === "unplugged") pci.hotPlug(new FakeFunction("second"), { bus: "rp1" });
		});
		guest.command(POWER_OFF | INDICATOR_OFF);
		expect(port.secondary.functions.map(({ name }) => name)).toEqual(["second"]);
		expect(guest.status & (ABP | PDC | PDS)).toBe(ABP | PDC | PDS);
		expect(fn.slot).toBeUndefined();
		listening[Symbol.dispose]();
		guest.powerOn();
		guest.powerOff();
		expect(port.secondary.functions).toEqual([]);
	});
});
