import { describe, expect, it } from "vitest";
import type { AccessWidth } from "../../../core/kernel.ts";
import { PciTopology, parseSlotAddress } from "../../../core/machine/mod.ts";
import { FakeFunction, FakeUpstream } from "./fake-function.ts";

function machine() {
	const pci = new PciTopology(new FakeUpstream(), { ecam: { base: 0xb000_0000, firstBus: 0, lastBus: 3 } });
	const fn = new FakeFunction();
	pci.plug(fn, { address: parseSlotAddress("5") });
	fn.take();
	return { pci, fn, bridge: pci.hostBridge };
}

const SLOT5 = 0x8000_2800;

describe("HostBridge ports", () => {
	it.each([
		[0xcfc, 4, "configRead 44 4"],
		[0xcfc, 2, "configRead 44 2"],
		[0xcfe, 2, "configRead 46 2"],
		[0xcfd, 1, "configRead 45 1"],
		[0xcff, 1, "configRead 47 1"],
	] as [number, AccessWidth, string][])("port %i reads %i bytes of the register", (port, width, call) => {
		const { fn, bridge } = machine();
		bridge.portWrite(0xcf8, 4, SLOT5 | 0x44);
		bridge.portRead(port, width);
		expect(fn.take()).toEqual([call]);
	});

	it("writes bytes and words to the register", () => {
		const { fn, bridge } = machine();
		bridge.portWrite(0xcf8, 4, SLOT5 | 0x04);
		bridge.portWrite(0xcfc, 2, 0x0406);
		bridge.portWrite(0xcff, 1, 0xf9);
		expect(fn.take()).toEqual(["configWrite 4 2 406", "configWrite 7 1 f9"]);
	});

	it("reads all ones and drops writes across a register", () => {
		const { fn, bridge } = machine();
		bridge.portWrite(0xcf8, 4, SLOT5);
		expect([bridge.portRead(0xcfd, 2), bridge.portRead(0xcfd, 4), bridge.portRead(0xcff, 2)]).toEqual([
			0xffff, 0xffff_ffff, 0xffff,
		]);
		bridge.portWrite(0xcfd, 2, 0);
		bridge.portWrite(0xcfe, 4, 0);
		bridge.portRead(0xcfc, 3 as AccessWidth);
		bridge.portWrite(0xcfc, 3 as AccessWidth, 0);
		expect(fn.take()).toEqual([]);
	});

	it("reads all ones where there is no function, or the address is not enabled", () => {
		const { fn, bridge } = machine();
		bridge.portWrite(0xcf8, 4, 0x8000_3000);
		expect(bridge.portRead(0xcfc, 4)).toBe(0xffff_ffff);
		bridge.portWrite(0xcfc, 4, 0);
		bridge.portWrite(0xcf8, 4, 0x8001_0000);
		expect(bridge.portRead(0xcfc, 1)).toBe(0xff);
		bridge.portWrite(0xcf8, 4, 0x2800);
		expect(bridge.portRead(0xcfc, 2)).toBe(0xffff);
		bridge.portWrite(0xcfc, 2, 0);
		expect(fn.take()).toEqual([]);
	});

	it("keeps the address register, writable 32 bits at a time only", () => {
		const { bridge } = machine();
		bridge.portWrite(0xcf8, 4, 0xffff_ffff);
		expect(bridge.portRead(0xcf8, 4)).toBe(0x80ff_fffc);
		bridge.portWrite(0xcf8, 1, 0);
		bridge.portWrite(0xcf9, 1, 0x06);
		bridge.portWrite(0xcfa, 2, 0);
		expect(bridge.configAddress).toBe(0x80ff_fffc);
		expect(bridge.portRead(0xcf8, 2)).toBe(0xffff);
		expect(bridge.portRead(0xcf9, 1)).toBe(0xff);
	});

	it("selected is true for a function of ours and for any device on a bus of ours", () => {
		const { pci, bridge } = machine();
		const port = pci.addRootPort("rp1", { address: parseSlotAddress("8") });
		const selected = (address: number) => {
			bridge.portWrite(0xcf8, 4, address);
			return bridge.selected;
		};
		expect(selected(SLOT5)).toBe(true);
		expect(selected(0x8000_0000)).toBe(false);
		expect(selected(0x8001_0000)).toBe(false);
		port.configWrite(0x18, 4, 0x0001_0100);
		expect(selected(0x8001_0000)).toBe(true);
		expect(selected(0x0001_0000)).toBe(false);
	});
});

describe("HostBridge ECAM", () => {
	const at = (bus: number, device: number, offset: number) => 0xb000_0000 + (bus << 20) + (device << 15) + offset;

	it("reaches all 4096 bytes", () => {
		const { fn, bridge } = machine();
		fn.config.setUint32(0xffc, 0xcafe_f00d, true);
		expect(bridge.ecamRead(at(0, 5, 0xffc), 4)).toBe(0xcafe_f00d);
		bridge.ecamWrite(at(0, 5, 0x106), 2, 7);
		expect(fn.take()).toEqual(["configRead ffc 4", "configWrite 106 2 7"]);
	});

	it("reads all ones outside: absent functions, buses, unaligned offsets", () => {
		const { fn, bridge } = machine();
		expect(bridge.ecamRead(at(0, 6, 0), 4)).toBe(0xffff_ffff);
		expect(bridge.ecamRead(at(3, 0, 0), 2)).toBe(0xffff);
		expect(bridge.ecamRead(at(0, 5, 0xffe), 4)).toBe(0xffff_ffff);
		expect(bridge.ecamRead(at(4, 0, 0), 1)).toBe(0xff);
		bridge.ecamWrite(at(0, 5, 0x1), 2, 0);
		bridge.ecamWrite(at(4, 5, 0), 2, 0);
		expect(fn.take()).toEqual([]);
		expect([at(0, 0, 0) - 1, at(0, 0, 0), at(3, 31, 0xfff), at(4, 0, 0)].map((a) => bridge.ecamContains(a))).toEqual([
			false,
			true,
			true,
			false,
		]);
	});

	it("moves, and is off without a window", () => {
		const { bridge } = machine();
		bridge.ecam = { base: 0xc000_0000, firstBus: 0, lastBus: 0 };
		expect(bridge.ecamRead(0xc000_0000 + (5 << 15), 2)).toBe(0x1234);
		bridge.ecam = undefined;
		expect(bridge.ecamContains(0xc000_0000)).toBe(false);
		expect(bridge.ecamRead(0xc000_0000, 4)).toBe(0xffff_ffff);
	});
});
