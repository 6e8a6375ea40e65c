import { describe, expect, it } from "vitest";
import type { FunctionState } from "../../../core/pci/mod.ts";
import { assign, MSI_AT, MSIX_ON, msixControl, nicConfig, PBA, program, TABLE } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";

/** A function that a driver has set up: BAR, COMMAND, four of eight MSI-X vectors, one of them masked and pending. */
function running() {
	const made = assign();
	const { device, fn } = made;
	fn.configWrite(0x10, 4, 0xe0000000);
	fn.configWrite(0x3c, 1, 11);
	fn.configWrite(4, 2, 0x0406);
	for (let vector = 0; vector < 4; vector++) program(fn, vector);
	msixControl(fn, MSIX_ON);
	fn.barWrite(0, TABLE + 16 * 2 + 12, 4, 1);
	device.message(2, 2);
	device.fake.settle();
	return made;
}

describe("AssignedFunction.save() and restore()", () => {
	it("brings registers, BARs, table, pending vectors and interrupts back on another function", () => {
		const state = structuredClone(running().fn.save());
		const { device, fn, slot } = assign();
		fn.restore(state);
		expect(fn.configRead(0x10, 4)).toBe(0xe0000000);
		expect(slot.bars[0]).toBe(0xe0000000n);
		expect(fn.configRead(4, 2)).toBe(0x0406);
		expect(fn.interruptMode).toBe("msix");
		expect(fn.barRead(0, TABLE + 16 + 8, 4)).toBe(0x41);
		expect(fn.barRead(0, PBA, 4)).toBe(4);
		device.message(2, 1);
		device.fake.settle();
		expect(slot.messages).toEqual(["fee00010=41"]);
		fn.barWrite(0, TABLE + 16 * 2 + 12, 4, 0);
		expect(slot.messages).toEqual(["fee00010=41", "fee00020=42"]);
	});

	it("writes COMMAND to the device, then sets the vectors up with one call", () => {
		const state = running().fn.save();
		const { device, fn } = assign();
		device.take();
		fn.restore(state);
		const calls = device.take().filter((call) => /^(write 7 4 |set 2)/.test(call));
		expect(calls[0]).toBe("write 7 4 406");
		expect(calls.filter((call) => call.startsWith("set 2")).length).toBeLessThanOrEqual(2);
		expect(device.irqState[2]?.fds.filter((fd) => fd >= 0).length).toBe(3);
	});

	it("brings MSI back, with the vectors that wait for their mask", () => {
		const first = assign();
		first.fn.configWrite(MSI_AT + 4, 4, 0xfee00000);
		first.fn.configWrite(MSI_AT + 12, 2, 0x50);
		first.fn.configWrite(MSI_AT + 16, 4, 2);
		first.fn.configWrite(MSI_AT + 2, 2, 0x21);
		first.device.message(1, 1);
		first.device.fake.settle();
		const { fn, slot } = assign();
		fn.restore(first.fn.save());
		expect([fn.interruptMode, fn.configRead(MSI_AT + 20, 4)]).toEqual(["msi", 2]);
		fn.configWrite(MSI_AT + 16, 4, 0);
		expect(slot.messages).toEqual(["fee00000=51"]);
	});

	it("returns to INTx when that was in use, and keeps it silent when it was disabled", () => {
		const first = assign();
		first.fn.configWrite(4, 2, 0x0402);
		const { device, fn, slot } = running();
		fn.restore(first.fn.save());
		expect(fn.interruptMode).toBe("intx");
		device.setLine(true);
		device.fake.settle();
		expect(slot.pins[1]).toBe(false);
	});

	it("puts the device into the power state that it had", () => {
		const sleeping = assign();
		sleeping.device.writable.add(0x44);
		sleeping.fn.configWrite(4, 2, 2);
		sleeping.fn.configWrite(0x10, 4, 0xe0000000);
		sleeping.fn.configWrite(0x44, 2, 3);
		const state = sleeping.fn.save();
		const { device, fn, slot } = assign();
		device.writable.add(0x44);
		fn.restore(state);
		expect([(device.config[0x44] ?? 0) & 3, slot.bars[0]]).toEqual([3, undefined]);
		fn.configWrite(0x44, 2, 0);
		expect(slot.bars[0]).toBe(0xe0000000n);
	});

	const state = running().fn.save();
	it.each([
		["of another format", { format: 2 }, "format 2"],
		["of another device", { device: 0x1234 }, "a 8086:1234, and it is a 8086:10c9"],
		["of other BARs", { bars: [{ index: 0, kind: "mem32", size: 16 }] }, "BAR 0 mem32 of 16"],
		["with another size of configuration space", { config: new Uint8Array(4096) }, "4096 bytes"],
		["with another number of vectors", { msix: { entries: new Uint8Array(16), pending: [] } }, "1 MSI-X vectors"],
		["with capabilities elsewhere", { config: state.config.map((byte, at) => (at === 0x34 ? 0x50 : byte)) }, "0x34"],
	])("refuses a state %s, and changes nothing", (_, change, text) => {
		const { device, fn } = running();
		device.take();
		const error = vfioError(() => fn.restore({ ...state, ...change } as FunctionState));
		expect(error.code).toBe("invalid-argument");
		expect(error.message).toContain(text);
		expect(device.take()).toEqual([]);
		expect(fn.interruptMode).toBe("msix");
	});

	it("takes of a forged state only what a guest could have written", () => {
		const { fn } = assign();
		const config = state.config.slice();
		config.fill(0xff, 0x08, 0x10);
		config.fill(0xff, 0x10, 0x28);
		fn.restore({
			...state,
			config,
			command: 0xffff,
			msix: { entries: new Uint8Array(128).fill(0xff), pending: [-1, 7, 9999] },
		});
		expect(fn.configRead(8, 4)).toBe(0x02000001);
		expect(fn.configRead(0x10, 4)).toBe(0xffff0000);
		expect(fn.barRead(0, PBA, 4)).toBe(0x80);
		fn[Symbol.dispose]();
	});

	it("refuses a function that is in no slot", () => {
		const { fn } = assign();
		fn.unplug();
		expect(vfioError(() => fn.restore(state)).message).toContain("not plugged in");
	});

	it("is the same again after any number of rounds", () => {
		const { fn } = running();
		const before = fn.save();
		for (let n = 0; n < 3; n++) fn.restore(fn.save());
		expect(fn.save()).toEqual(before);
		expect(nicConfig().length).toBe(before.config.length);
	});
});
