import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import { PciTopology } from "../../core/machine/topology.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { resetMachine } from "../../core/pci/machine-reset.ts";
import { O_RDWR } from "../../core/uapi/fcntl.ts";
import { Edu, type Host, Nvme, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";
import { hostWith } from "../kernel-sim/vfio-pci/bench.ts";
import { BACKENDS, type Backend } from "./scripted-guest.ts";

const FIRST = "0000:01:00.0";
const SECOND = "0000:01:00.1";
const NVME = "0000:05:00.0";

function assigned(host: Host, addresses: readonly string[], backend: Backend = "type1") {
	const clock = new VirtualClock();
	const linux = new SimulatedLinux({ host, clock });
	const process = linux.process();
	const iommufd = backend === "iommufd" ? Iommufd.open(process) : undefined;
	const addressSpace = new IoAddressSpace(process, iommufd ? { iommufd } : {});
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
		iommufd?.[Symbol.dispose]();
		clock.settle();
		return Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
	};
	return { fns: functions.map(({ fn }) => fn), devices: functions.map(({ device }) => device), resets, close };
}

/** Two functions of one slot below a port, neither of which can be reset by itself. */
const slot = () =>
	hostWith({
		[FIRST]: [{ ...Edu.description(), multifunction: true }, new Edu()],
		[SECOND]: [Edu.description(), new Edu()],
	});

describe.each(BACKENDS)("resetMachine() on a simulated Linux with %s", (backend) => {
	it("resets two functions that have no reset of their own together, once, and they work afterwards", () => {
		const { fns, resets, close } = assigned(slot(), [FIRST, SECOND], backend);
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
		const { fns, resets, close } = assigned(host, [FIRST], backend);
		const before = resets(FIRST);
		const report = resetMachine(fns);
		expect(report.shared).toEqual([]);
		// The other function is of the same group, and so held: the function's own reset was one of the bus.
		expect([report.functions[0]?.report.method, resets(FIRST)]).toEqual(["hot-reset", before + 1]);
		expect(report.functions[0]?.report.methods[1]?.detail).toContain(
			backend === "type1" ? `${SECOND} (group` : `${SECOND} (owned)`,
		);
		expect(close()).toEqual([]);
	});
});

describe("a hot reset of a character device", () => {
	it("RST-07 goes by what the kernel says of each device: its id in the iommufd, not a group, and no descriptors", () => {
		const { devices, close } = assigned(slot(), [FIRST, SECOND], "iommufd");
		const [first] = devices as [VfioDevice];
		expect(first.hotResetInfo()).toEqual([
			{ name: FIRST, address: FIRST, group: undefined, owned: true, inUse: true },
			{ name: SECOND, address: SECOND, group: undefined, owned: true, inUse: true },
		]);
		first.hotReset();
		expect(close()).toEqual([]);
	});

	it("Y-03 knows a device by its id, whatever it is called here: no name is compared with an address", () => {
		const host = slot();
		const linux = new SimulatedLinux({ host });
		const process = linux.process();
		bindGroup(process, FIRST);
		const iommufd = Iommufd.open(process);
		const cdev = (address: string) =>
			`/dev/vfio/devices/${process.readDirectory(`/sys/bus/pci/devices/${address}/vfio-dev`)[0]}`;
		// Each is called what the other one's address is.
		const [a, b] = [
			[FIRST, SECOND],
			[SECOND, FIRST],
		].map(([address, name]) => {
			const fd = process.open(cdev(address as string), O_RDWR);
			return VfioDevice.open(process, { fd, name: name as string }, { iommufd });
		}) as [VfioDevice, VfioDevice];
		expect(a.hotResetInfo().map(({ name, address }) => [name, address])).toEqual([
			[a.name, FIRST],
			[b.name, SECOND],
		]);
		for (const thing of [a, b, iommufd]) thing[Symbol.dispose]();
		expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
	});

	it("RST-06 is refused by name when a device on the bus is with no VFIO driver, and so with no iommufd", () => {
		const linux = new SimulatedLinux({ host: slot() });
		const process = linux.process();
		bindGroup(process, FIRST);
		const iommufd = Iommufd.open(process);
		const device = VfioDevice.open(process, FIRST, { iommufd });
		process.writeFile("/sys/bus/pci/drivers/vfio-pci/unbind", SECOND);
		const error = vfioError(() => device.hotReset());
		expect([error.code, error.device, error.message]).toEqual([
			"reset-failed",
			FIRST,
			`Cannot hot reset ${FIRST}: it would also reset ${SECOND}, not owned here`,
		]);
		for (const thing of [device, iommufd]) thing[Symbol.dispose]();
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
