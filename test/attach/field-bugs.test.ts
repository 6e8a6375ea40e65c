// What users of other programs met, where it takes a whole kernel to show it; the ids are those of the collection.
import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { groupMembers } from "../../core/host/groups.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { EBUSY } from "../../core/uapi/errno.ts";
import type { ParameterValues } from "../../kernel-sim/linux/parameters.ts";
import { Host, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";

const NVME = "0000:06:00.0";
/** Below a root port as the NVMe controller is, so that both are on one line. */
const PORTED = "0000:01:00.0";
/** Two functions of one slot, in one group. */
const EDU = "0000:00:12.0";
const SIBLING = "0000:00:12.1";
const MSIX = 2;
const NONE = -1;

let linux: SimulatedLinux;
let kernel: SimProcess;
beforeEach(() => {
	linux = new SimulatedLinux({ host: Host.reference() });
	kernel = linux.process();
});

describe("security in the field", () => {
	it("SEC-02 refuses a part of a group while a host driver has the rest", () => {
		const { machine, drivers } = Host.reference();
		linux = new SimulatedLinux({ host: new Host(machine, new Map([...drivers, [SIBLING, "uio_memory"]])) });
		kernel = linux.process();
		kernel.writeFile(`/sys/bus/pci/devices/${EDU}/driver_override`, "vfio-pci");
		kernel.writeFile("/sys/bus/pci/drivers/vfio-pci/bind", EDU);
		const error = vfioError(() => VfioDevice.open(kernel, EDU));
		expect(error.code).toBe("group-not-viable");
		expect(error.message).toContain(`${SIBLING} (uio_memory)`);
	});

	it("SEC-02 holds the rest of a group with the part that is assigned: nobody else can have it", () => {
		bindGroup(kernel, EDU);
		const device = VfioDevice.open(kernel, EDU);
		expect(JSON.stringify(groupMembers(kernel, device.groupId as number))).toContain(SIBLING);
		const other = linux.process({ name: "another" });
		expect(vfioError(() => VfioDevice.open(other, SIBLING)).code).toBe("device-in-use");
		expect(() => kernel.writeFile(`/sys/bus/pci/drivers/vfio-pci/unbind`, EDU)).toThrow();
		device[Symbol.dispose]();
	});

	it.each([
		[0xffffffff, 2],
		[65, 0],
		[61, 5],
		[65, 1],
		[0, 66],
	])("SEC-05 is refused by the kernel to set up vectors %i and %i more, of 65", (start, count) => {
		bindGroup(kernel, NVME);
		const device = VfioDevice.open(kernel, NVME);
		const error = vfioError(() => device.setEventfds(MSIX, start, Array(count).fill(NONE)));
		expect(error.code).toBe("interrupt-failed");
		device.setEventfds(MSIX, 61, Array(4).fill(NONE));
		device[Symbol.dispose]();
	});
});

describe("an interrupt line that several devices are on", () => {
	const boot = (parameters: ParameterValues) => {
		linux = new SimulatedLinux({ host: Host.reference(), parameters });
		kernel = linux.process();
		for (const address of [PORTED, NVME]) bindGroup(kernel, address);
		return [PORTED, NVME].map((address) => VfioDevice.open(kernel, address));
	};
	const release = (devices: readonly VfioDevice[]) => {
		for (const device of devices) device[Symbol.dispose]();
		expect([linux.leaks().openFiles, linux.leaks().eventfds]).toEqual([0, 0]);
	};

	it("is shared by those that Linux can silence at the device", () => {
		const devices = boot({});
		const functions = devices.map((device) => AssignedFunction.attach(device));
		expect(functions.map((fn) => fn.interruptMode)).toEqual(["intx", "intx"]);
		for (const fn of functions) fn[Symbol.dispose]();
		release(devices);
	});

	it("is refused to the second of two that it cannot: the error says why, and without INTx it is assigned", () => {
		const devices = boot({ vfio_pci: { nointxmask: true } });
		const [first, second] = devices as [VfioDevice, VfioDevice];
		const holder = AssignedFunction.attach(first);
		const error = vfioError(() => AssignedFunction.attach(second));
		expect([error.code, error.errno]).toEqual(["interrupt-failed", EBUSY]);
		expect(error.message).toContain("another device uses its interrupt line");
		const without = AssignedFunction.attach(second, { intx: "off" });
		expect([without.interruptMode, without.plan.interrupts.msix]).toEqual(["none", 65]);
		without[Symbol.dispose]();
		holder[Symbol.dispose]();
		const alone = AssignedFunction.attach(second);
		expect(alone.interruptMode).toBe("intx");
		alone[Symbol.dispose]();
		release(devices);
	});
});
