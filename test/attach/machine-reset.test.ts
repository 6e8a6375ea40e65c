import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { PciTopology } from "../../core/machine/topology.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { resetMachine } from "../../core/pci/machine-reset.ts";
import { Edu, type Host, Nvme, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { hostWith } from "../kernel-sim/vfio-pci/bench.ts";

const FIRST = "0000:01:00.0";
const SECOND = "0000:01:00.1";
const NVME = "0000:05:00.0";

function assigned(host: Host, addresses: readonly string[]) {
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({ host, clock });
	const process = linux.process();
	const addressSpace = new IoAddressSpace(process);
	const pci = new PciTopology({ pin: () => {}, message: () => {} });
	const functions = addresses.map((address, n) => {
		bindGroup(process, address);
		const device = VfioDevice.open(process, address, { addressSpace });
		const fn = AssignedFunction.attach(device);
		pci.addRootPort(`rp${n}`);
		pci.plug(fn, { bus: `rp${n}` });
		return { device, fn };
	});
	const resets = (address: string) => host.machine.function(address)?.resetCount ?? 0;
	const close = () => {
		for (const { fn, device } of functions) {
			pci.unplug(fn);
			fn[Symbol.dispose]();
			device[Symbol.dispose]();
		}
		clock.settle();
		return Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
	};
	return { fns: functions.map(({ fn }) => fn), resets, close };
}

/** Two functions of one slot below a port, neither of which can be reset by itself. */
const slot = () =>
	hostWith({
		[FIRST]: [{ ...Edu.description(), multifunction: true }, new Edu()],
		[SECOND]: [Edu.description(), new Edu()],
	});

describe("resetMachine() on a simulated Linux", () => {
	it("resets two functions that have no reset of their own together, once, and they work afterwards", () => {
		const { fns, resets, close } = assigned(slot(), [FIRST, SECOND]);
		for (const fn of fns) {
			fn.configWrite(0x10, 4, 0xfd000000);
			fn.configWrite(4, 2, 6);
		}
		const before = [resets(FIRST), resets(SECOND)];
		const report = resetMachine(fns);
		expect(report.shared).toEqual([{ leader: FIRST, others: [SECOND], error: undefined }]);
		expect([resets(FIRST), resets(SECOND)]).toEqual(before.map((count) => count + 1));
		for (const { report: own } of report.functions) {
			expect(own.method).toBeUndefined();
			expect(own.methods[0]).toMatchObject({ method: "device-reset", exists: false });
			expect(own.methods[1]?.detail).toContain("in use here");
			expect(own.tried[0]?.error).toContain("is in use as well");
		}
		for (const fn of fns) {
			expect([fn.configRead(4, 2), fn.interruptMode]).toEqual([0, "intx"]);
			fn.configWrite(0x10, 4, 0xfd000000);
			fn.configWrite(4, 2, 6);
			expect(fn.barRead(0, 0, 4)).toBe(0x010000ed);
		}
		expect(close()).toEqual([]);
	});

	it("RST-06 does not reset a bus with a device on it that is not ours, and says which", () => {
		const host = slot();
		const { fns, resets, close } = assigned(host, [FIRST]);
		const before = resets(FIRST);
		const report = resetMachine(fns);
		expect(report.shared).toEqual([]);
		// The other function is of the same group, and so held: the function's own reset was one of the bus.
		expect([report.functions[0]?.report.method, resets(FIRST)]).toEqual(["hot-reset", before + 1]);
		expect(report.functions[0]?.report.methods[1]?.detail).toContain(`${SECOND} (group`);
		expect(close()).toEqual([]);
	});
});

describe("AssignedFunction.restore() on a simulated Linux", () => {
	it("goes on with another controller of the same kind: registers, table, interrupts", () => {
		const host = hostWith({
			[NVME]: [Nvme.description(), new Nvme()],
			"0000:06:00.0": [Nvme.description(), new Nvme()],
		});
		const { fns, close } = assigned(host, [NVME, "0000:06:00.0"]);
		const [first, second] = fns as [AssignedFunction, AssignedFunction];
		first.configWrite(0x10, 4, 0xfd000000);
		first.configWrite(4, 2, 0x0406);
		const msix = first.plan.guest.capabilities.find(({ id }) => id === 0x11)?.offset ?? 0;
		const table = first.configRead(msix + 4, 4) & ~7;
		for (let vector = 0; vector < 4; vector++) first.barWrite(0, table + 16 * vector + 12, 4, 0);
		first.configWrite(msix + 2, 2, 0x8000);
		second.restore(structuredClone(first.save()));
		expect([second.interruptMode, second.configRead(4, 2) & 0x0406]).toEqual(["msix", 0x0406]);
		expect([second.configRead(0x10, 4) & ~0xf, second.barRead(0, table + 12, 4)]).toEqual([0xfd000000 & ~0xf, 0]);
		expect(second.barRead(0, 8, 4)).toBe(first.barRead(0, 8, 4));
		expect(close()).toEqual([]);
	});
});
