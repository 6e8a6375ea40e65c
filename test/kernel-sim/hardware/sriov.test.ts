import { describe, expect, it } from "vitest";
import {
	express,
	type FunctionDescription,
	Igb,
	Machine,
	PciFunction,
	programMachine,
	rootPort,
	sriov,
} from "../../../kernel-sim/mod.ts";

const PF = "0000:04:00.0";
const SRIOV = 0x100;
const CONTROL = SRIOV + 0x08;
const NUM_VFS = SRIOV + 0x10;
const VF_BAR_0 = SRIOV + 0x24;

function physical(rest: Partial<Parameters<typeof sriov>[0]> = {}): FunctionDescription {
	return {
		vendor: 0x1234,
		device: 0x1000,
		classCode: 0x020000,
		capabilities: [express({ flr: true })],
		extendedCapabilities: [
			sriov({
				totalVfs: 6,
				vfDevice: 0x1001,
				firstVfOffset: 8,
				vfStride: 2,
				vfBars: [{ index: 0, size: 0x4000, prefetchable: true }],
				...rest,
			}),
		],
	};
}

function machineWith(description: FunctionDescription, acs = true) {
	const machine = new Machine();
	const port = rootPort({ secondary: 4, slot: 4 });
	machine.plug("0000:00:08.0", new PciFunction(acs ? port : { ...port, extendedCapabilities: [] }));
	const pf = machine.plug(PF, new PciFunction(description));
	programMachine(machine);
	const enable = (count: number) => {
		pf.configWrite(NUM_VFS, 2, count);
		pf.configWrite(CONTROL, 2, 0x9);
	};
	const addresses = () =>
		machine.virtualFunctionsOf(pf).map(({ address: { bus, device, function: fn } }) => [bus, device, fn].join("."));
	return { machine, pf, enable, addresses };
}

describe("SR-IOV", () => {
	it("plugs virtual functions by offset and stride, and tells listeners; clearing VF Enable takes them away", () => {
		const { machine, pf, enable, addresses } = machineWith(physical());
		const seen: string[] = [];
		machine.listen({ plugged: (fn) => seen.push(`+${fn.virtual?.index}`), unplugged: () => seen.push("-") });
		enable(3);
		expect([addresses(), seen]).toEqual([
			["4.1.0", "4.1.2", "4.1.4"],
			["+0", "+1", "+2"],
		]);
		pf.configWrite(CONTROL, 2, 0);
		expect([addresses(), seen.length, machine.functions.length]).toEqual([[], 6, 2]);
	});

	it("reads as a virtual function does: no ids, no BARs, no pin, of COMMAND only Bus Master", () => {
		const { machine, enable } = machineWith(physical());
		enable(1);
		const vf = machine.function("0000:04:01.0");
		vf?.configWrite(4, 2, 0xffff);
		vf?.configWrite(0x10, 4, 0xffffffff);
		expect([0, 4, 0x10, 0x3d].map((at) => vf?.configRead(at, at === 4 ? 2 : at === 0x3d ? 1 : 4))).toEqual([
			0xffffffff, 4, 0, 0,
		]);
		expect([vf?.description.vendor, vf?.description.device]).toEqual([0x1234, 0x1001]);
	});

	it("places the BARs one behind the other in what firmware gave the physical function", () => {
		const { machine, pf, enable } = machineWith(physical());
		enable(6);
		const base = (BigInt(pf.configRead(VF_BAR_0 + 4, 4)) << 32n) + BigInt((pf.configRead(VF_BAR_0, 4) & ~0xf) >>> 0);
		expect(base).toBeGreaterThan(0n);
		const [first, , third] = machine.virtualFunctionsOf(pf);
		expect([first?.barAddress(0), third?.barAddress(0)]).toEqual([base, base + 0x8000n]);
		third?.write(0, 8, 4, 0x12345678);
		expect([third?.read(0, 8, 4), first?.read(0, 8, 4)]).toEqual([0x12345678, 0]);
		pf.configWrite(CONTROL, 2, 0x1);
		expect([third?.memoryEnabled, third?.read(0, 8, 4)]).toEqual([false, 0xffffffff]);
	});

	it("gives each its own IOMMU group below an isolating port, and one for all below another", () => {
		const isolated = machineWith(physical());
		isolated.enable(2);
		expect([...isolated.machine.groups.values()].map((members) => members.length)).toEqual([1, 1, 1, 1]);
		const shared = machineWith(physical(), false);
		shared.enable(2);
		expect([...shared.machine.groups.values()].map((members) => members.length)).toEqual([4]);
	});

	it("runs over into the next bus, where the port is still the same", () => {
		const { machine, pf, enable, addresses } = machineWith(physical({ firstVfOffset: 254, vfStride: 1 }));
		enable(4);
		expect(addresses()).toEqual(["4.31.6", "4.31.7", "5.0.0", "5.0.1"]);
		expect(machine.virtualFunctionsOf(pf).every((vf) => machine.bridgeOf(vf) === machine.bridgeOf(pf))).toBe(true);
	});

	it("keeps NumVFs while they are enabled, and makes no more than there are", () => {
		const { pf, enable, addresses } = machineWith(physical());
		enable(2);
		pf.configWrite(NUM_VFS, 2, 5);
		expect([pf.configRead(NUM_VFS, 2), addresses().length]).toEqual([2, 2]);
		pf.configWrite(CONTROL, 2, 0);
		enable(0xffff);
		expect(addresses().length).toBe(6);
	});

	it("hides them at a reset of the physical function, and shows the same ones when the registers are restored", () => {
		const { machine, pf, enable } = machineWith(physical());
		enable(2);
		const before = machine.virtualFunctionsOf(pf);
		before[0]?.configWrite(4, 2, 4);
		pf.reset();
		expect([pf.configRead(CONTROL, 2), pf.configRead(NUM_VFS, 2)]).toEqual([0, 0]);
		expect([before[0]?.present, before[0]?.configRead(4, 2)]).toEqual([false, 0xffff]);
		enable(2);
		expect(machine.virtualFunctionsOf(pf)).toEqual(before);
		expect([before[0]?.present, before[0]?.configRead(4, 2)]).toEqual([true, 0]);
		pf.reset();
		pf.configWrite(NUM_VFS, 2, 0);
		expect(machine.virtualFunctionsOf(pf)).toEqual([]);
	});

	it("takes them along when the physical function is pulled out", () => {
		const { machine, enable } = machineWith(physical());
		enable(3);
		machine.unplug(PF);
		expect(machine.functions.length).toBe(1);
	});

	it("leads nowhere when the routing ids make no sense", () => {
		const none = machineWith(physical({ firstVfOffset: 0, vfStride: 0 }));
		none.enable(3);
		expect(none.addresses()).toEqual([]);
		const same = machineWith(physical({ vfStride: 0 }));
		same.enable(3);
		expect(same.addresses()).toEqual(["4.1.0"]);
		const far = machineWith(physical({ firstVfOffset: 0xfc00 }));
		far.enable(3);
		expect(far.addresses()).toEqual([]);
	});

	it("gives the functions of the 82576 their model", () => {
		const machine = new Machine();
		const pf = machine.plug(PF, new PciFunction(Igb.description(), new Igb()));
		programMachine(machine);
		pf.configWrite(0x170, 2, 8);
		pf.configWrite(0x168, 2, 0x9);
		const [first] = machine.virtualFunctionsOf(pf);
		expect(machine.virtualFunctionsOf(pf).length).toBe(8);
		expect([first?.address.device, first?.msix?.vectors, first?.resetMethods]).toEqual([0x10, 3, ["flr"]]);
		// STATUS: eight virtual functions.
		expect((pf.read(0, 8, 4) >>> 14) & 0x1f).toBe(0x18);
		// RSTI until the physical function's driver says that it is there; then RSTD, once.
		expect(first?.read(0, 0xc40, 4)).toBe(0x40);
		pf.write(0, 0x18, 4, 1 << 14);
		expect([first?.read(0, 0xc40, 4), first?.read(0, 0xc40, 4)]).toEqual([0x80, 0]);
		// The buffer belongs to one of them at a time.
		first?.write(0, 0xc40, 4, 4);
		pf.write(0, 0xc00, 4, 8);
		expect([first?.read(0, 0xc40, 4), pf.read(0, 0xc00, 4)]).toEqual([4, 4]);
		pf.write(0, 0xc00, 4, 0x18);
		expect([first?.read(0, 0xc40, 4), pf.read(0, 0xc00, 4)]).toEqual([8, 8]);
		for (let offset = 0; offset < 0x4000; offset += 4) first?.write(0, offset, 4, 0xffffffff);
		for (let offset = 0; offset < 0x4000; offset++) first?.read(0, offset, 1);
	});
});
