// What users of other programs met, where it takes a whole kernel to show it; the ids are those of the collection.
import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { groupMembers } from "../../core/host/groups.ts";
import { Host, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";

const NVME = "0000:06:00.0";
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
