import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { PciSysfs } from "../../core/host/sysfs.ts";
import { unbindGroup } from "../../core/host/unbind.ts";
import { requireViable } from "../../core/host/viability.ts";
import { EACCES, EBUSY, ENOENT, EPERM } from "../../core/uapi/errno.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX } from "../../core/uapi/vfio.ts";
import { Host, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";

const NVME = "0000:05:00.0";
/** Two functions of one slot, in one group, the first of which a host driver has. */
const EDU = "0000:00:12.0";
const SIBLING = "0000:00:12.1";

let linux: SimulatedLinux;
let kernel: SimProcess;
let pci: PciSysfs;
beforeEach(() => {
	const { machine, drivers } = Host.reference();
	linux = new SimulatedLinux({ host: new Host(machine, new Map([...drivers, [SIBLING, "uio_memory"]])) });
	kernel = linux.process();
	pci = new PciSysfs(kernel);
});
const leaks = () => Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
const drivers = (...names: string[]) => names.map((name) => pci.driver(name));

/** Only one function of the group, as somebody does by hand who does not know of groups. */
function bindAlone(name: string): void {
	kernel.writeFile(`/sys/bus/pci/devices/${name}/driver_override`, "vfio-pci");
	kernel.writeFile("/sys/bus/pci/drivers/vfio-pci/bind", name);
}

describe("binding on a simulated Linux", () => {
	it("T-02 binds a whole group and gives each device back to the driver it had", () => {
		const group = bindGroup(kernel, EDU);
		expect(drivers(EDU, SIBLING)).toEqual(["vfio-pci", "vfio-pci"]);
		const device = VfioDevice.open(kernel, EDU);
		expect(device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, 0, 4)).toBe(0x11e81234);
		device[Symbol.dispose]();
		group[Symbol.dispose]();
		expect(drivers(EDU, SIBLING)).toEqual([undefined, "uio_memory"]);
		expect([EDU, SIBLING].map((name) => pci.driverOverride(name))).toEqual(["", ""]);
		expect(leaks()).toEqual([]);
	});

	it("gives a device that somebody else had bound to the driver that Linux finds", () => {
		bindGroup(kernel, NVME);
		unbindGroup(linux.process({ name: "another" }), NVME);
		expect(drivers(NVME)).toEqual(["nvme"]);
	});

	it("does not wait for ever for a device that is open", () => {
		const group = bindGroup(kernel, NVME);
		const device = VfioDevice.open(kernel, NVME);
		expect(() => group[Symbol.dispose]()).toThrow(/open|errors/);
		expect(device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, 0, 2)).toBe(0x1b36);
	});

	it("closes a device whose unbind has been waiting for that, mappings and all", async () => {
		bindGroup(kernel, NVME);
		const device = VfioDevice.open(kernel, NVME);
		const memory = kernel.allocate(4096);
		device.iommu.map(0n, memory.address, 4096n);
		const unbound = linux.writeFileAsync(linux.process(), "/sys/bus/pci/drivers/vfio-pci/unbind", NVME);
		device[Symbol.dispose]();
		await unbound;
		memory[Symbol.dispose]();
		expect(drivers(NVME)).toEqual([undefined]);
		expect(leaks()).toEqual([]);
	});

	it("an unprivileged user is told which file it may not write", () => {
		const error = vfioError(() => bindGroup(linux.process({ uid: 1000 }), NVME));
		expect([error.code, error.errno]).toEqual(["no-permission", EACCES]);
		expect(error.message).toContain("/sys/bus/pci/drivers/nvme/unbind");
		expect(drivers(NVME)).toEqual(["nvme"]);
	});
});

describe("opening on a simulated Linux", () => {
	it("explains a group that is not viable before the kernel is asked and after it refused, with the same words", () => {
		bindAlone(EDU);
		const before = vfioError(() => requireViable(kernel, 7, EDU));
		const after = vfioError(() => VfioDevice.open(kernel, EDU));
		expect([before.code, after.code]).toEqual(["group-not-viable", "group-not-viable"]);
		expect(after.message).toBe(before.message);
		expect(after.message).toContain(`${SIBLING} (uio_memory)`);
		expect(leaks()).toEqual([]);
	});

	it("the commands that the error gives make the group viable", () => {
		bindAlone(EDU);
		for (const command of vfioError(() => VfioDevice.open(kernel, EDU)).remedy) {
			const [, text, path] = /^echo (\S+) \| sudo tee (\S+)$/.exec(command) ?? [];
			if (text && path) kernel.writeFile(path, text);
		}
		VfioDevice.open(kernel, EDU)[Symbol.dispose]();
	});

	it("says that the device is not bound, and the commands that bind it work", () => {
		const error = vfioError(() => VfioDevice.open(kernel, NVME));
		expect([error.code, error.errno]).toEqual(["not-bound", ENOENT]);
		expect(error.message).toContain("its driver is nvme");
		for (const command of error.remedy) {
			const [, text, path] = /^echo (\S+) \| sudo tee (\S+)$/.exec(command) ?? [];
			if (text && path) kernel.writeFile(path, text);
		}
		VfioDevice.open(kernel, NVME)[Symbol.dispose]();
	});

	it("says that another process has the group", () => {
		bindGroup(kernel, NVME);
		const other = linux.process({ name: "qemu" });
		const theirs = VfioDevice.open(other, NVME);
		const error = vfioError(() => VfioDevice.open(kernel, NVME));
		expect([error.code, error.errno, error.device]).toEqual(["device-in-use", EBUSY, NVME]);
		expect(error.remedy[0]).toContain("fuser");
		theirs[Symbol.dispose]();
		VfioDevice.open(kernel, NVME)[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("says that this process has the device already, and leaves that one alone", () => {
		bindGroup(kernel, NVME);
		const device = VfioDevice.open(kernel, NVME);
		expect(vfioError(() => VfioDevice.open(kernel, NVME)).code).toBe("already-attached");
		expect(device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, 0, 2)).toBe(0x1b36);
	});

	it("an unprivileged user is told how to get the group's node", () => {
		bindGroup(kernel, NVME);
		const error = vfioError(() => VfioDevice.open(linux.process({ uid: 1000 }), NVME));
		expect([error.code, error.errno]).toEqual(["no-permission", EACCES]);
		expect(error.remedy[0]).toBe('sudo chown "$USER" /dev/vfio/10');
		expect(leaks()).toEqual([]);
	});

	it("an IOMMU that does not isolate interrupts is refused, unless the module parameter accepts it", () => {
		const open = (parameters?: { vfio_iommu_type1: { allow_unsafe_interrupts: boolean } }) => {
			const host = Host.reference({ interruptRemapping: false });
			const process = new SimulatedLinux({ host, ...(parameters ? { parameters } : {}) }).process();
			bindGroup(process, NVME);
			return VfioDevice.open(process, NVME);
		};
		expect(vfioError(() => open())).toMatchObject({ code: "unsupported-iommu", errno: EPERM });
		expect(open({ vfio_iommu_type1: { allow_unsafe_interrupts: true } }).name).toBe(NVME);
	});
});

describe("two devices of one group on a simulated Linux", () => {
	it.each([
		["first", [0, 1]],
		["second", [1, 0]],
	])("HOT-07 share the group and the container, and the %s may go first", (_which, order) => {
		bindGroup(kernel, EDU);
		const devices = [VfioDevice.open(kernel, EDU), VfioDevice.open(kernel, SIBLING)];
		expect(devices[1]?.container).toBe(devices[0]?.container);
		for (const index of order) {
			devices[index]?.mapRegion(0, 0, 4096);
			devices[index]?.[Symbol.dispose]();
		}
		expect(leaks()).toEqual([]);
	});
});
