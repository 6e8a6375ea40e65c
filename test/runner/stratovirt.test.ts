import { describe, expect, it } from "vitest";
import { IoAddressSpace, VfioDevice } from "../../core/device/mod.ts";
import { VfioError } from "../../core/errors.ts";
import { bindGroup, examineHost, PciSysfs, unbindGroup } from "../../core/host/mod.ts";
import { Host, Igb, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { Guest, hostWith } from "../attach/devices/guest.ts";
import { region, TestMemory } from "../core/support/guest-memory.ts";

// What StratoVirt's documentation tells its users to do, step by step.

const NVME = "0000:05:00.0";
const HINIC = "0000:01:00.0";

/** A host one of whose devices is with the driver that the documentation has. */
function hinicHost() {
	const { machine, drivers } = Host.reference();
	const linux = new SimulatedLinux({ host: new Host(machine, new Map([...drivers, [HINIC, "hinic"]])) });
	const kernel = linux.process();
	const pci = new PciSysfs(kernel);
	expect(pci.driver(HINIC)).toBe("hinic");
	return { linux, kernel, pci };
}

describe("IOMMU groups are looked at first", () => {
	it("V-01 the host check says of each device which group it is in and who else is, and of a host that it has none", () => {
		const kernel = new SimulatedLinux({ host: Host.reference() }).process();
		const group = (device: string) =>
			examineHost(kernel, { devices: [device] }).find((one) => one.item === "IOMMU group" && one.device === device);
		expect(group(NVME)).toMatchObject({ level: "ok", text: expect.stringContaining("Group 10") });
		expect(group("0000:00:12.0")?.text).toContain("0000:00:12.1");
		const without = new SimulatedLinux({ host: Host.reference({ iommu: false }) }).process();
		expect(examineHost(without, { devices: [NVME] }).some(({ level }) => level === "problem")).toBe(true);
	});
});

describe("binding and giving back", () => {
	it("V-02 the documentation's shell lines give a device to vfio-pci, and back to hinic", () => {
		const { kernel: shell, pci } = hinicHost();
		const { vendor, device } = pci.ids(HINIC);
		shell.writeFile(`/sys/bus/pci/devices/${HINIC}/driver/unbind`, HINIC);
		shell.writeFile("/sys/bus/pci/drivers/vfio-pci/new_id", `${vendor.toString(16)} ${device.toString(16)}`);
		expect(pci.driver(HINIC)).toBe("vfio-pci");
		shell.writeFile("/sys/bus/pci/drivers/vfio-pci/unbind", HINIC);
		shell.writeFile("/sys/bus/pci/drivers/hinic/bind", HINIC);
		expect(pci.driver(HINIC)).toBe("hinic");
	});

	it("V-02 bindGroup() does the same without new_id, and its disposal goes back to hinic", () => {
		const { linux, kernel, pci } = hinicHost();
		const bound = bindGroup(kernel, HINIC);
		expect(pci.driver(HINIC)).toBe("vfio-pci");
		VfioDevice.open(kernel, HINIC)[Symbol.dispose]();
		bound[Symbol.dispose]();
		expect(pci.driver(HINIC)).toBe("hinic");
		expect(pci.driverOverride(HINIC) || undefined).toBeUndefined();
		expect(linux.leaks().openFiles).toBe(0);
	});

	it("V-02 unbindGroup() gives a device back for somebody who did not bind it, to the driver that is named", () => {
		const { kernel, pci } = hinicHost();
		bindGroup(kernel, HINIC);
		unbindGroup(kernel, HINIC, { driver: "hinic" });
		expect(pci.driver(HINIC)).toBe("hinic");
	});
});

describe("what does not go together", () => {
	it("V-04 no balloon takes memory while a device is assigned, and no device is assigned while one must", () => {
		const linux = new SimulatedLinux({ host: Host.reference() });
		const kernel = linux.process();
		const bound = [bindGroup(kernel, NVME), bindGroup(kernel, "06:00.0")];
		const memory = kernel.allocate(1 << 20);
		let inhibited = 0;
		let balloon = false;
		const addressSpace = new IoAddressSpace(kernel, {
			memory: new TestMemory([region(0n, memory.length, { memory })]),
			inhibitDiscard: () => {
				if (balloon) throw new VfioError("invalid-argument", "Cannot assign a device: a balloon is inflated");
				inhibited++;
				return { [Symbol.dispose]: () => void inhibited-- };
			},
		});
		const devices = [NVME, "06:00.0"].map((address) => VfioDevice.open(kernel, address, { addressSpace }));
		expect(inhibited).toBe(1);
		for (const device of devices) {
			expect(inhibited).toBe(1);
			device[Symbol.dispose]();
		}
		expect(inhibited).toBe(0);
		balloon = true;
		expect(() => VfioDevice.open(kernel, NVME, { addressSpace })).toThrow("a balloon is inflated");
		for (const group of bound.reverse()) group[Symbol.dispose]();
		memory[Symbol.dispose]();
		expect(Object.values(linux.leaks()).filter((count) => count !== 0)).toEqual([]);
	});
});

describe("what StratoVirt's own code does with a device", () => {
	it("V-07 ARI, SR-IOV and resizable BARs are hidden, COMMAND starts clear, the MSI-X table's page is trapped", () => {
		const address = "0000:04:00.0";
		const guest = new Guest(hostWith({ [address]: [Igb.description(), new Igb()] }), address);
		const ids = (list: readonly { id: number }[]) => list.map(({ id }) => id);
		const { plan } = guest.fn;
		expect(ids(plan.host.extended)).toEqual(expect.arrayContaining([0x0e, 0x10]));
		expect(ids(plan.guest.extended).filter((id) => [0x0e, 0x10, 0x15].includes(id))).toEqual([]);
		const table = plan.bars.find(({ areas }) => areas.some(({ reason }) => reason.includes("MSI-X table")));
		expect(table?.areas.filter(({ access }) => access === "trap").length).toBeGreaterThan(0);
		guest[Symbol.dispose]();
	});
});
