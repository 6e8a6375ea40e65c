import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import type { FunctionEvent } from "../../../core/pci/mod.ts";
import { assign, MSIX_ON, msixControl, nicConfig, program } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeSlot } from "../support/fake-slot.ts";
import { FakeDevice, FakeKernel } from "../support/fake-vfio-device.ts";
import { configSpace, expressBody, msixBody } from "../support/pci-config.ts";

const regions = { 0: { size: 0x10000, mappable: true }, 2: { size: 0x20 } };
const nic = (more: Partial<ConstructorParameters<typeof FakeDevice>[0]> = {}) =>
	new FakeDevice({ config: nicConfig(), regions, irqs: [1, 4, 8, 1, 1], ...more });

describe("AssignedFunction.attach()", () => {
	it("L-01 reads config space, maps BARs, arms INTx, then listens to the kernel", () => {
		const device = nic();
		AssignedFunction.attach(device);
		const order = device
			.take()
			.filter((call) => !/^(read|write) 7/.test(call))
			.map((call) => call.replace(/\[\d+\]/, "[fd]"));
		expect(order).toEqual([
			"bytes 7",
			"map 0 0 2000",
			"map 0 3000 d000",
			"set 0 0 [fd]",
			"set 3 0 [fd]",
			"set 4 0 [fd]",
		]);
	});

	it.each([
		["malformed-msix", nicConfig(8, { capabilities: [[0x70, 0x11, msixBody(8, [0, 0xfff0], [0, 0])]] }), "0x70"],
		["unassignable-device", configSpace({ headerType: 1 }), "bridge"],
		["unassignable-device", configSpace({ capabilities: [[0x40, 0x10, expressBody(4)]] }), "root port"],
		["malformed-config-space", new Uint8Array(256).fill(0xff), "all ones"],
	] as const)("refuses a device with %s and names it", (code, config, text) => {
		const device = nic({ config });
		const error = vfioError(() => AssignedFunction.attach(device));
		expect(error.code).toBe(code);
		expect(error.device).toBe("0000:05:00.0");
		expect(error.message).toMatch(/^Cannot assign 0000:05:00\.0: /);
		expect(error.message).toContain(text);
		expect(device.held).toBe(0);
	});

	it("refuses a device whose configuration space cannot be read whole", () => {
		const device = nic();
		device.failing = ["bytes 7"];
		expect(vfioError(() => AssignedFunction.attach(device)).code).toBe("malformed-config-space");
	});

	it("L-02 gives everything back whichever call fails", () => {
		for (let n = 0; n < 8; n++) {
			const kernel = new FakeKernel();
			const device = nic({ kernel });
			kernel.failAfter = n;
			try {
				AssignedFunction.attach(device)[Symbol.dispose]();
			} catch {}
			expect(device.held).toBe(0);
		}
		for (const failing of ["set 0", "set 3", "set 4", "map 0 0", "map 0 3000"]) {
			const device = nic();
			device.failing = [failing];
			try {
				AssignedFunction.attach(device)[Symbol.dispose]();
			} catch (error) {
				expect(failing).toBe("set 0");
				expect(error).toBeInstanceOf(Error);
			}
			expect(device.held).toBe(0);
		}
	});

	it("B-04 reports a BAR that cannot be mapped, and reaches it through the kernel", () => {
		const device = nic();
		device.failing = ["map 0 0"];
		const reports: string[] = [];
		const fn = AssignedFunction.attach(device, { onReport: (message) => reports.push(message) });
		expect(reports.length).toBe(1);
		fn.configWrite(4, 2, 0x2);
		device.take();
		fn.barRead(0, 0, 4);
		fn.barRead(0, 0x4000, 4);
		expect(device.take()).toEqual(["read 0 0"]);
		expect(fn.directAreas(0).map(({ start }) => start)).toEqual([0x3000]);
	});

	it.each([
		[{ intxMmapTimeout: -1 }, "intxMmapTimeout"],
		[{ intxMmapTimeout: 1.5 }, "intxMmapTimeout"],
		[{ pageSize: 1000 }, "pageSize"],
		[{ ids: { vendor: 0xffff } }, "vendor"],
		[{ ids: { classCode: 0x1000000 } }, "classCode"],
	])("refuses the option %j", (options, name) => {
		const error = vfioError(() => AssignedFunction.attach(nic(), options));
		expect(error.code).toBe("invalid-argument");
		expect(error.message).toContain(name);
	});

	it("reports what is wrong with the device and works without it", () => {
		const config = nicConfig();
		config[0x71] = 0x40;
		const reports: string[] = [];
		const fn = AssignedFunction.attach(nic({ config }), { onReport: (message) => reports.push(message) });
		expect(fn.plan.problems.length).toBe(1);
		expect(reports[0]).toContain("0000:05:00.0");
		expect(reports[0]).toContain("loops");
	});
});

describe("AssignedFunction.plug()", () => {
	it("brings the function up with nothing decoded, no DMA and power-on registers", () => {
		const device = nic();
		device.config[4] = 0x07;
		const fn = AssignedFunction.attach(device);
		fn.plug(new FakeSlot());
		expect(device.config[4]).toBe(0);
		expect(fn.configRead(4, 2)).toBe(0);
		expect(fn.configRead(0x10, 4)).toBe(0);
	});

	it("fits the function to the bus it is plugged into", () => {
		const config = configSpace({ size: 4096, capabilities: [[0x40, 0x10, expressBody(0)]], extended: [[0x100, 1]] });
		const on = (bus: FakeSlot["bus"], multifunction = false) => {
			const fn = AssignedFunction.attach(nic({ config: config.slice(), irqs: [1] }));
			fn.plug(new FakeSlot(bus, multifunction));
			return fn;
		};
		expect(on("root-complex").configRead(0x42, 2)).toBe(0x92);
		expect(on("downstream-port").configRead(0x42, 2)).toBe(0x02);
		expect(on("conventional").configRead(0x100, 4)).toBe(0xffffffff);
		expect(on("downstream-port").configRead(0x100, 4) & 0xffff).toBe(1);
		expect(on("downstream-port", true).configRead(0x0c, 4)).toBe(0x00800000);
	});

	it("C-02 lets the option decide about multifunction", () => {
		expect(assign({}, { multifunction: true }).fn.configRead(0x0e, 1)).toBe(0x80);
		expect(assign({}, { multifunction: false }, new FakeSlot("downstream-port", true)).fn.configRead(0x0e, 1)).toBe(0);
	});

	it("refuses a second slot", () => {
		const { fn } = assign();
		expect(vfioError(() => fn.plug(new FakeSlot())).code).toBe("invalid-argument");
		fn.unplug();
		expect(() => fn.plug(new FakeSlot())).toThrow(VfioError);
	});
});

describe("AssignedFunction.unplug()", () => {
	it("L-03 ends interrupts, BARs and DMA first, and unmaps at disposal", () => {
		const { device, fn, slot } = assign();
		fn.configWrite(0x10, 4, 0xfe000000);
		fn.configWrite(4, 2, 6);
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		device.take();
		fn.unplug();
		expect(device.take().filter((call) => !call.startsWith("read"))).toEqual([
			"disable 4",
			"disable 3",
			"disable 2",
			"write 7 4 2",
		]);
		expect(slot.bars[0]).toBeUndefined();
		expect(device.fake.eventfds.size).toBe(0);
		expect(device.mappings.size).toBe(2);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
		fn[Symbol.dispose]();
	});

	it("answers all ones afterwards, and interrupts that were under way go nowhere", () => {
		const { device, fn, slot } = assign();
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		device.message(2, 0);
		fn.unplug();
		device.fake.settle();
		expect(slot.messages).toEqual([]);
		expect(fn.configRead(0, 4)).toBe(0xffffffff);
		expect(fn.barRead(0, 0, 4)).toBe(0xffffffff);
		expect(fn.barRead64(0, 0)).toBe(0xffff_ffff_ffff_ffffn);
		fn.configWrite(4, 2, 2);
		fn.barWrite(0, 0, 4, 1);
		fn.barWrite64(0, 0, 1n);
		expect(fn.directAreas(0)).toEqual([]);
		expect(fn.reset()).toEqual({ method: undefined, tried: [], methods: [] });
	});

	it("gives everything back even when the kernel refuses each step", () => {
		const { device, fn, reports } = assign();
		device.failing = ["disable", "write 7"];
		fn[Symbol.dispose]();
		expect(device.fake.eventfds.size + device.fake.watches.size + device.mappings.size).toBe(0);
		expect(reports.length).toBeGreaterThanOrEqual(3);
	});

	it("gives the device its own listener back", () => {
		const device = nic();
		const listener = () => {};
		device.onReport = listener;
		AssignedFunction.attach(device)[Symbol.dispose]();
		expect(device.onReport).toBe(listener);
	});
});

describe("AssignedFunction.reset()", () => {
	it("puts device and guest-visible state back to power-on", () => {
		const { device, fn, slot } = assign();
		fn.configWrite(0x10, 4, 0xfe000000);
		fn.configWrite(4, 2, 0x0406);
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		device.take();
		const { method } = fn.reset();
		expect(method).toBe("device-reset");
		expect(device.take().filter((call) => !/^(read|set)/.test(call))).toEqual([
			"disable 2",
			"hot-reset-info",
			"write 7 4 0",
			"reset",
			...["10", "14", "18", "1c", "20", "24"].map((at) => `write 7 ${at} 0`),
		]);
		expect(slot.bars[0]).toBeUndefined();
		expect(fn.configRead(0x10, 4)).toBe(0);
		expect(fn.configRead(4, 2)).toBe(0);
		expect(fn.configRead(0x72, 2)).toBe(7);
		expect(fn.barRead(0, 0x200c, 4)).toBe(1);
		expect(fn.interruptMode).toBe("intx");
		expect(fn.lastReset?.method).toBe("device-reset");
		msixControl(fn, MSIX_ON);
		expect(fn.interruptMode).toBe("msix");
	});

	it("wakes the device up first", () => {
		const { device, fn } = assign();
		device.writable.add(0x44);
		fn.configWrite(0x44, 2, 3);
		device.take();
		fn.reset();
		expect(device.take("write 7 44")).toEqual(["write 7 44 0"]);
	});

	it("falls back to a reset of the bus, unless that would take another device down", () => {
		const alone = assign({ resettable: false });
		alone.device.members = [{ name: "0000:05:00.0", group: 25, owned: true, inUse: true }];
		expect(alone.fn.reset()).toMatchObject({ method: "hot-reset", tried: [] });
	});

	it("reports when nothing works, and works on", () => {
		const { device, fn, reports } = assign();
		device.failing = ["reset", "hot-reset"];
		const report = fn.reset();
		expect(report.method).toBeUndefined();
		expect(report.tried.map(({ method }) => method)).toEqual(["device-reset", "hot-reset"]);
		expect(reports.length).toBe(1);
		expect(fn.interruptMode).toBe("intx");
	});
});

describe("AssignedFunction events", () => {
	it("tells of requests for the device and of its errors", () => {
		const events: FunctionEvent[] = [];
		const { device, fn } = assign({}, { onEvent: (event) => events.push(event) });
		events.length = 0;
		const signal = (index: number) => device.fake.signal(device.irqState[index]?.fds[0] as number);
		signal(4);
		device.fake.settle();
		signal(4);
		signal(3);
		device.fake.settle();
		expect(events).toEqual([
			{ type: "device-requested", count: 1, action: "ask" },
			{ type: "device-error" },
			{ type: "device-requested", count: 2, action: "ask" },
		]);
		fn.unplug();
	});

	it("works where the kernel has neither", () => {
		const { device, fn } = assign({ irqs: [1, 4, 8] });
		expect(device.fake.eventfds.size).toBe(1);
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});

	it("tells what happens, in order, to those who listen", () => {
		const { device, fn } = assign();
		const events: string[] = [];
		const subscription = fn.onEvent((event) =>
			events.push(
				event.type === "interrupt"
					? `${event.kind} ${event.vector}`
					: event.type === "mapped"
						? `mapped ${event.on}`
						: event.type,
			),
		);
		device.setLine(true);
		device.fake.settle();
		program(fn, 1);
		msixControl(fn, MSIX_ON);
		device.message(2, 1);
		device.fake.settle();
		subscription[Symbol.dispose]();
		fn.reset();
		expect(events).toEqual(["mapped false", "intx 0", "mapped true", "interrupt-mode", "interrupt-mode", "msix 1"]);
	});

	it("reports a machine that throws, instead of throwing at the guest", () => {
		const slot = new FakeSlot();
		const { device, fn, reports } = assign({}, {}, slot);
		const fail = () => {
			throw new Error("no such bus");
		};
		Object.assign(slot, { message: fail, placeBar: fail, setPin: fail, directAreasChanged: fail });
		fn.configWrite(0x10, 4, 0xfe000000);
		fn.configWrite(4, 2, 2);
		device.setLine(true);
		device.fake.settle();
		program(fn, 0);
		msixControl(fn, MSIX_ON);
		device.message(2, 0);
		device.fake.settle();
		expect(reports.length).toBeGreaterThanOrEqual(4);
	});
});

describe("AssignedFunction under any guest", () => {
	type Step =
		| {
				kind: "config" | "bar";
				bar: number;
				offset: number;
				width: number;
				value: number;
				write: boolean;
		  }
		| { kind: "signal"; index: number; vector: number }
		| { kind: "line" | "time" | "reset" }
		| { kind: "fail"; what: string };
	const step: fc.Arbitrary<Step> = fc.oneof(
		fc.record({
			kind: fc.constantFrom("config" as const, "bar" as const),
			bar: fc.integer({ min: 0, max: 7 }),
			// Mostly where something happens: header, capabilities, table.
			offset: fc.oneof(fc.integer({ min: -4, max: 0x90 }), fc.integer({ min: 0x2000, max: 0x2090 }), fc.nat(0x11000)),
			width: fc.constantFrom(1, 2, 4, 8),
			value: fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 1, 0x8000, 0xc000, 0xffffffff)),
			write: fc.boolean(),
		}),
		fc.record({ kind: fc.constant("signal" as const), index: fc.nat(4), vector: fc.nat(8) }),
		fc.record({ kind: fc.constantFrom("line" as const, "time" as const, "reset" as const) }),
		fc.record({ kind: fc.constant("fail" as const), what: fc.constantFrom("", "set", "disable", "read", "write 7") }),
	);

	it("never throws, never shows a host address, and gives everything back", () => {
		fc.assert(
			fc.property(fc.array(step, { maxLength: 120 }), fc.boolean(), (steps, dynamic) => {
				const config = nicConfig();
				const { device, fn } = assign({ dynamic, config });
				const written = new Set<number>();
				let refused = false;
				for (const action of steps) {
					if (action.kind === "config" && action.write) {
						fn.configWrite(action.offset, action.width as AccessWidth, action.value);
						written.add(action.value);
					} else if (action.kind === "config") {
						const value = fn.configRead(action.offset, action.width as AccessWidth);
						expect(value >= 0 && value <= 0xffffffff).toBe(true);
					} else if (action.kind === "bar" && action.width === 8) {
						if (action.write) fn.barWrite64(action.bar, action.offset, BigInt(action.value));
						else fn.barRead64(action.bar, action.offset);
					} else if (action.kind === "bar") {
						if (action.write) fn.barWrite(action.bar, action.offset, action.width as AccessWidth, action.value);
						else fn.barRead(action.bar, action.offset, action.width as AccessWidth);
					} else if (action.kind === "signal") {
						device.message(action.index, action.vector);
						device.fake.settle();
					} else if (action.kind === "line") {
						device.setLine(!device.line);
						device.fake.settle();
					} else if (action.kind === "time") {
						device.fake.clock.advance(600);
					} else if (action.kind === "reset") {
						fn.reset();
						written.clear();
					} else if (action.kind === "fail") {
						device.failing = action.what === "" ? [] : [action.what];
					}
					refused ||= device.failing.includes("disable");
					const active = device.irqState.slice(0, 3).filter((irq) => irq.active).length;
					if (!refused) expect(active).toBeLessThanOrEqual(1);
					// The host's addresses of BAR 0 and 2 are in the device's registers and nowhere else.
					device.failing = device.failing.filter((what) => what !== "read");
					if (!written.has(0xfe400000)) expect(fn.configRead(0x10, 4)).not.toBe(0xfe400000);
				}
				device.failing = [];
				fn[Symbol.dispose]();
				expect(device.fake.eventfds.size + device.fake.watches.size + device.mappings.size).toBe(0);
				expect(device.fake.clock.timers.length).toBe(0);
			}),
			{ numRuns: 200 },
		);
	});
});
