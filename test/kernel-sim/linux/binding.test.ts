import { describe, expect, it } from "vitest";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import { rootPort } from "../../../kernel-sim/hardware/bridges.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { Edu } from "../../../kernel-sim/hardware/models/edu.ts";
import { Host } from "../../../kernel-sim/host.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";
import {
	attach,
	bind,
	boot,
	deviceFd,
	driverFile,
	driverOf,
	EDU,
	map,
	NVME,
	openGroup,
	outcome,
	ROOT_PORT,
	SHARED_EDU,
	SHARED_MEMORY,
	sysfs,
	text,
} from "./support.ts";

const EDU_ID = "1234 11e8";
const write = (kernel: SimProcess, path: string, value: string) => outcome(() => kernel.writeFile(path, value)) ?? 0;

describe("PciBus", () => {
	it("222: bind of a device that the driver does not know is refused with ENODEV", () => {
		const kernel = boot().process();
		expect(write(kernel, driverFile("vfio-pci", "bind"), EDU)).toBe("ENODEV");
		expect(write(kernel, driverFile("vfio-pci", "bind"), "0000:7f:00.0")).toBe("ENODEV");
		// A missing override counts before "already bound".
		expect(write(kernel, driverFile("vfio-pci", "bind"), NVME)).toBe("ENODEV");
	});

	it("223: driver_override and bind give the device to vfio-pci, and make its nodes", () => {
		const kernel = boot().process();
		expect(write(kernel, sysfs(EDU, "driver_override"), "vfio-pci\n")).toBe(0);
		expect(write(kernel, driverFile("vfio-pci", "bind"), `${EDU}\n`)).toBe(0);
		expect(driverOf(kernel, EDU)).toBe("vfio-pci");
		expect(kernel.readDirectory(sysfs(EDU, "vfio-dev"))).toEqual(["vfio0"]);
		expect(kernel.readDirectory("/dev/vfio")).toEqual(["9", "devices", "vfio"]);
		expect(kernel.readDirectory("/sys/bus/pci/drivers/vfio-pci")).toContain(EDU);
		expect(kernel.readLink(driverFile("vfio-pci", EDU))).toBe(`../../../../devices/pci0000:00/0000:00:08.0/${EDU}`);
	});

	it("224: new_id binds what is unbound, once", () => {
		const kernel = boot().process();
		const newId = driverFile("vfio-pci", "new_id");
		expect(write(kernel, newId, "8086")).toBe("EINVAL");
		expect(write(kernel, newId, "zz 11e8")).toBe("EINVAL");
		expect(write(kernel, newId, EDU_ID)).toBe(0);
		expect([EDU, SHARED_EDU].map((address) => driverOf(kernel, address))).toEqual(["vfio-pci", "vfio-pci"]);
		expect(driverOf(kernel, SHARED_MEMORY)).toBeUndefined();
		expect(write(kernel, newId, EDU_ID)).toBe("EEXIST");
		expect(write(kernel, newId, "1b36 10 ffffffff ffffffff 0 0 5")).toBe("EINVAL");
		// Bound devices are not touched.
		expect(write(kernel, newId, "1b36 0010")).toBe(0);
		expect(driverOf(kernel, NVME)).toBe("nvme");
	});

	it("224: new_id of a driver whose own table has the id is refused with EEXIST", () => {
		const kernel = boot().process();
		expect(write(kernel, driverFile("nvme", "new_id"), "1b36 0010 ffffffff ffffffff 010802 ffffff")).toBe("EEXIST");
		expect(write(kernel, driverFile("nvme", "new_id"), "1b36 0010")).toBe(0);
	});

	it("224: an override keeps a device from a driver with a dynamic id", () => {
		const kernel = boot().process();
		write(kernel, sysfs(EDU, "driver_override"), "pci-stub");
		write(kernel, driverFile("vfio-pci", "new_id"), EDU_ID);
		expect(driverOf(kernel, EDU)).toBeUndefined();
		expect(write(kernel, "/sys/bus/pci/drivers_probe", EDU)).toBe(0);
		expect(driverOf(kernel, EDU)).toBe("pci-stub");
	});

	it("225: remove_id refuses unknown ids with ENODEV and unbinds nothing", () => {
		const kernel = boot().process();
		const removeId = driverFile("vfio-pci", "remove_id");
		expect(write(kernel, removeId, "1234")).toBe("EINVAL");
		expect(write(kernel, removeId, EDU_ID)).toBe("ENODEV");
		write(kernel, driverFile("vfio-pci", "new_id"), EDU_ID);
		expect(write(kernel, removeId, EDU_ID)).toBe(0);
		expect(driverOf(kernel, EDU)).toBe("vfio-pci");
		kernel.writeFile(driverFile("vfio-pci", "unbind"), EDU);
		expect(write(kernel, driverFile("vfio-pci", "bind"), EDU)).toBe("ENODEV");
	});

	it("226: vfio-pci refuses a bridge with EINVAL", () => {
		const kernel = boot().process();
		expect(() => bind(kernel, ROOT_PORT)).toThrow("EINVAL");
		expect(driverOf(kernel, ROOT_PORT)).toBeUndefined();
		// A driver that refuses is no error of drivers_probe.
		expect(write(kernel, "/sys/bus/pci/drivers_probe", ROOT_PORT)).toBe(0);
		write(kernel, sysfs(ROOT_PORT, "driver_override"), "\n");
		expect(write(kernel, "/sys/bus/pci/drivers_probe", ROOT_PORT)).toBe(0);
		expect(driverOf(kernel, ROOT_PORT)).toBe("pcieport");
	});

	it("227: unbind and bind refuse what is so already", () => {
		const kernel = boot().process();
		expect(write(kernel, driverFile("nvme", "unbind"), EDU)).toBe("ENODEV");
		expect(write(kernel, driverFile("vfio-pci", "unbind"), NVME)).toBe("ENODEV");
		expect(write(kernel, driverFile("nvme", "bind"), NVME)).toBe("EBUSY");
		expect(write(kernel, "/sys/bus/pci/drivers_probe", NVME)).toBe(0);
		expect(write(kernel, "/sys/bus/pci/drivers_probe", "0000:7f:00.0")).toBe("ENODEV");
	});

	it("227: a device goes back to the driver it had", () => {
		const kernel = boot().process();
		bind(kernel, NVME);
		kernel.writeFile(sysfs(NVME, "driver/unbind"), NVME);
		kernel.writeFile(sysfs(NVME, "driver_override"), "\n");
		kernel.writeFile("/sys/bus/pci/drivers_probe", NVME);
		expect(driverOf(kernel, NVME)).toBe("nvme");
		expect(kernel.readDirectory("/dev/vfio")).toEqual(["vfio"]);
	});

	it("228: driver_override reads as it was written, and (null) when it is cleared", () => {
		const kernel = boot().process();
		const path = sysfs(EDU, "driver_override");
		expect(text(kernel, path)).toBe("(null)\n");
		kernel.writeFile(path, "nosuch\nrest");
		expect(text(kernel, path)).toBe("nosuch\n");
		kernel.writeFile("/sys/bus/pci/drivers_probe", EDU);
		expect(driverOf(kernel, EDU)).toBeUndefined();
		kernel.writeFile(path, "\n");
		expect(text(kernel, path)).toBe("(null)\n");
		expect(write(kernel, path, "x".repeat(4095))).toBe("EINVAL");
		expect(write(kernel, path, "x".repeat(4094))).toBe(0);
	});

	it("drivers_autoprobe decides whether a device that is plugged in gets a driver, on Linux 7.2", () => {
		const linux = boot({ version: "7.2" });
		const kernel = linux.process();
		const autoprobe = "/sys/bus/pci/drivers_autoprobe";
		write(kernel, driverFile("vfio-pci", "new_id"), EDU_ID);
		kernel.writeFile(autoprobe, "0");
		expect(text(kernel, autoprobe)).toBe("0\n");
		linux.machine.plug("0000:02:00.0", new PciFunction(Edu.description(), new Edu()));
		expect(driverOf(kernel, "0000:02:00.0")).toBeUndefined();
		kernel.writeFile(autoprobe, "1");
		linux.machine.plug("0000:03:00.0", new PciFunction(Edu.description(), new Edu()));
		expect(driverOf(kernel, "0000:03:00.0")).toBe("vfio-pci");
		expect(kernel.readLink(sysfs("0000:03:00.0", "iommu_group"))).toMatch(/iommu_groups\/\d+$/);
		linux.machine.unplug("0000:03:00.0");
		expect(kernel.readDirectory("/sys/bus/pci/devices")).not.toContain("0000:03:00.0");
	});

	it("drivers_autoprobe does not count for devices that Linux 6.12 finds on a bus", () => {
		const kernel = boot().process();
		kernel.writeFile("/sys/bus/pci/drivers_autoprobe", "0");
		kernel.writeFile(sysfs(NVME, "remove"), "1");
		kernel.writeFile("/sys/bus/pci/rescan", "1");
		expect(driverOf(kernel, NVME)).toBe("nvme");
	});

	it("remove takes a device from the bus, and rescan brings it back", () => {
		const kernel = boot().process();
		kernel.writeFile(sysfs(NVME, "remove"), "1");
		expect(kernel.readDirectory("/sys/bus/pci/devices")).not.toContain(NVME);
		expect(kernel.readDirectory("/sys/kernel/iommu_groups")).not.toContain("10");
		kernel.writeFile("/sys/bus/pci/rescan", "1");
		expect(driverOf(kernel, NVME)).toBe("nvme");
	});

	it("a host that boots with a device on vfio-pci has it there", () => {
		const linux = boot();
		const drivers = new Map([[EDU, "vfio-pci"]]);
		const kernel = boot({ host: new Host(linux.machine, drivers) }).process();
		expect(driverOf(kernel, EDU)).toBe("vfio-pci");
	});
});

describe("sysfs of a PCI device", () => {
	it("shows what the device is", () => {
		const kernel = boot().process();
		const shown = (file: string) => text(kernel, sysfs(NVME, file));
		expect(
			["vendor", "device", "subsystem_vendor", "class", "revision", "numa_node", "power_state"].map(shown),
		).toEqual(["0x1b36\n", "0x0010\n", "0x1af4\n", "0x010802\n", "0x02\n", "-1\n", "D0\n"]);
		expect(shown("modalias")).toMatch(/^pci:v00001B36d00000010sv00001AF4sd[0-9A-F]{8}bc01sc08i02\n$/);
		const resource = shown("resource").split("\n");
		expect(resource.length).toBe(14);
		expect(resource[0]).toMatch(/^0x00000000[0-9a-f]{8} 0x00000000[0-9a-f]{8} 0x0000000000140204$/);
		expect(resource[1]).toBe("0x0000000000000000 0x0000000000000000 0x0000000000000000");
		expect(kernel.readLink(`/sys/bus/pci/devices/${NVME}`)).toBe(`../../../devices/pci0000:00/${ROOT_PORT}/${NVME}`);
		expect(kernel.readDirectory(`/sys/devices/pci0000:00/${ROOT_PORT}`)).toContain(NVME);
	});

	it("config shows the standard header to who has opened it without CAP_SYS_ADMIN", () => {
		const linux = boot();
		const root = linux.process();
		const user = linux.process({ uid: 1000 });
		expect(root.readFile(sysfs(NVME, "config")).length).toBe(4096);
		expect(root.readFile(sysfs(EDU, "config")).length).toBe(256);
		expect(user.readFile(sysfs(NVME, "config"))).toEqual(root.readFile(sysfs(NVME, "config")).subarray(0, 64));
		expect(outcome(() => user.open(sysfs(NVME, "config"), O_RDWR))).toBe("EACCES");
		const fd = user.open(sysfs(NVME, "config"), 0);
		expect(user.pread(fd, new Uint8Array(8), 60)).toBe(4);
		expect(user.pread(fd, new Uint8Array(8), 64)).toBe(0);
	});

	it("config writes the registers, and cuts off what lies beyond them", () => {
		const linux = boot();
		const kernel = linux.process();
		const fd = kernel.open(sysfs(EDU, "config"), O_RDWR);
		expect(kernel.pwrite(fd, Uint8Array.of(0x2a), 0x3c)).toBe(1);
		expect(linux.machine.function(EDU)?.config[0x3c]).toBe(0x2a);
		expect(kernel.pwrite(fd, new Uint8Array(8), 252)).toBe(4);
		expect(kernel.pwrite(fd, new Uint8Array(8), 256)).toBe(0);
	});

	it("reset_method lists the methods, and takes a subset of them", () => {
		const kernel = boot().process();
		const path = sysfs(NVME, "reset_method");
		expect(text(kernel, path)).toBe("flr bus\n");
		for (const wrong of ["pm", "flr nosuch", "device_specific"]) expect(write(kernel, path, wrong)).toBe("EINVAL");
		expect(text(kernel, path)).toBe("flr bus\n");
		kernel.writeFile(path, "bus");
		expect(text(kernel, path)).toBe("bus\n");
		kernel.writeFile(path, "\n");
		expect(text(kernel, path)).toBe("\n");
		expect(write(kernel, sysfs(NVME, "reset"), "1")).toBe("ENOTTY");
		kernel.writeFile(path, "default");
		expect(text(kernel, path)).toBe("flr bus\n");
	});

	it("reset resets the function for 1 only, keeps its settings, and is not there without a method", () => {
		const linux = boot();
		const kernel = linux.process();
		const fn = linux.machine.function(NVME);
		const before = kernel.readFile(sysfs(NVME, "config"));
		for (const wrong of ["\n", "0", "2", "x"]) expect(write(kernel, sysfs(NVME, "reset"), wrong)).toBe("EINVAL");
		// Nobody is told of a write of nothing.
		expect(write(kernel, sysfs(NVME, "reset"), "")).toBe(0);
		expect(fn?.resetCount).toBe(0);
		expect(write(kernel, sysfs(NVME, "reset"), "0x1\n")).toBe(0);
		expect(fn?.resetCount).toBe(1);
		expect(kernel.readFile(sysfs(NVME, "config"))).toEqual(before);
		expect(write(kernel, sysfs(SHARED_EDU, "reset"), "1")).toBe("ENOENT");
	});

	it("enable counts, and is the driver's while there is one", () => {
		const linux = boot();
		const kernel = linux.process();
		expect(text(kernel, sysfs(NVME, "enable"))).toBe("1\n");
		expect(write(kernel, sysfs(NVME, "enable"), "1")).toBe("EBUSY");
		expect(write(kernel, sysfs(EDU, "enable"), "0")).toBe("EIO");
		expect(write(kernel, sysfs(EDU, "enable"), "1")).toBe(0);
		expect(text(kernel, sysfs(EDU, "enable"))).toBe("1\n");
		expect(write(linux.process({ uid: 1000 }), sysfs(EDU, "enable"), "1")).toBe("EACCES");
	});

	it("files that cannot be read or written are refused with EACCES, for root too", () => {
		const kernel = boot().process();
		expect(outcome(() => kernel.readFile(driverFile("nvme", "bind")))).toBe("EACCES");
		expect(write(kernel, sysfs(NVME, "vendor"), "1")).toBe("EACCES");
		expect(write(kernel, "/sys/bus/pci/devices", "1")).toBe("EISDIR");
		expect(write(kernel, sysfs(NVME, "nosuch"), "1")).toBe("ENOENT");
		expect(write(kernel, sysfs(NVME, "vendor/x"), "1")).toBe("ENOTDIR");
		expect(outcome(() => kernel.readFile("/sys/bus/pci/devices"))).toBe("EISDIR");
	});
});

describe("sysfs of an IOMMU group", () => {
	it("229: reserved_regions has the message window, and what an ISA bridge needs", () => {
		const kernel = boot().process();
		const msi = "0x00000000fee00000 0x00000000feefffff msi\n";
		expect(text(kernel, sysfs(NVME, "iommu_group/reserved_regions"))).toBe(msi);
		expect(text(kernel, sysfs("0000:00:1f.0", "iommu_group/reserved_regions"))).toBe(
			`0x0000000000000000 0x0000000000ffffff direct-relaxable\n${msi}`,
		);
		expect(kernel.readDirectory(sysfs(SHARED_EDU, "iommu_group/devices"))).toEqual([SHARED_EDU, SHARED_MEMORY]);
		expect(kernel.readDirectory("/sys/class/iommu")).toEqual(["dmar0"]);
	});

	it("230: type changes only while nobody has the group, and only for those who may", () => {
		const linux = boot();
		const kernel = linux.process();
		const path = sysfs(EDU, "iommu_group/type");
		expect(text(kernel, path)).toBe("DMA\n");
		expect(write(kernel, path, "nonsense")).toBe("EINVAL");
		expect(write(kernel, path, "identity\n")).toBe(0);
		expect(text(kernel, path)).toBe("identity\n");
		expect(write(kernel, path, "auto")).toBe(0);
		expect(write(linux.process({ capabilities: ["CAP_SYS_ADMIN"] }), path, "DMA")).toBe("EACCES");
		expect(write(linux.process({ uid: 1000 }), path, "DMA")).toBe("EACCES");
		attach(kernel, EDU);
		expect(write(kernel, path, "identity")).toBe("EPERM");
		expect(write(kernel, path, "DMA-FQ")).toBe(0);
		expect(write(kernel, sysfs(NVME, "iommu_group/type"), "identity")).toBe("EPERM");
	});

	it("there are no groups on a host without an IOMMU, and vfio-pci refuses its devices", () => {
		const kernel = boot({ machine: { iommu: false } }).process();
		expect(kernel.readDirectory("/sys/kernel/iommu_groups")).toEqual([]);
		expect(kernel.readDirectory("/sys/class/iommu")).toEqual([]);
		expect(outcome(() => kernel.readLink(sysfs(NVME, "iommu_group")))).toBe("ENOENT");
		expect(() => bind(kernel, EDU)).toThrow("EINVAL");
	});
});

describe("module parameters", () => {
	it("are shown and stored in sysfs", () => {
		const kernel = boot({ parameters: { vfio_pci: { enable_sriov: true } } }).process();
		const path = (module: string, name: string) => `/sys/module/${module}/parameters/${name}`;
		expect(text(kernel, path("vfio_iommu_type1", "dma_entry_limit"))).toBe("65535\n");
		expect(text(kernel, path("vfio_iommu_type1", "allow_unsafe_interrupts"))).toBe("N\n");
		expect(text(kernel, path("vfio_pci", "enable_sriov"))).toBe("Y\n");
		expect(write(kernel, path("vfio_iommu_type1", "allow_unsafe_interrupts"), "on\n")).toBe(0);
		expect(text(kernel, path("vfio_iommu_type1", "allow_unsafe_interrupts"))).toBe("Y\n");
		expect(write(kernel, path("vfio_iommu_type1", "dma_entry_limit"), "many")).toBe("EINVAL");
		expect(write(kernel, path("vfio_iommu_type1", "dma_entry_limit"), "0x10")).toBe(0);
		expect(text(kernel, path("vfio_iommu_type1", "dma_entry_limit"))).toBe("16\n");
		expect(write(kernel, path("vfio_pci", "disable_denylist"), "Y")).toBe("EACCES");
		expect(kernel.readDirectory("/sys/module/vfio_pci/parameters")).not.toContain("ids");
	});

	it("that are not there or have another type cannot be given", () => {
		expect(() => boot({ parameters: { vfio_pci: { nosuch: 1 } } })).toThrow("vfio_pci.nosuch");
		expect(() => boot({ parameters: { vfio_pci: { enable_sriov: 1 } } })).toThrow("boolean");
	});
});

describe("modules", () => {
	it("vfio_pci.ids binds devices that have no driver when the module is loaded", () => {
		const kernel = boot({ parameters: { vfio_pci: { ids: "1234:11e8,1b36:0010:ffffffff" } } }).process();
		expect([EDU, SHARED_EDU, NVME].map((address) => driverOf(kernel, address))).toEqual([
			"vfio-pci",
			"vfio-pci",
			"nvme",
		]);
	});

	it("without VFIO's there is neither vfio-pci nor /dev/vfio", () => {
		const kernel = boot({ vfio: false }).process();
		expect(kernel.readDirectory("/sys/bus/pci/drivers")).not.toContain("vfio-pci");
		expect(outcome(() => kernel.open("/dev/vfio/vfio", O_RDWR))).toBe("ENOENT");
		expect(outcome(() => kernel.readDirectory("/sys/module/vfio_pci"))).toBe("ENOENT");
	});
});

describe("hot plug", () => {
	it("a device that joins a group in use does DMA through the user's mappings", () => {
		const linux = boot();
		const kernel = linux.process();
		const { container } = attach(kernel, EDU);
		const { address: vaddr } = kernel.allocate(4096);
		map(kernel, container, { vaddr, iova: 0n, size: 4096n });
		const late = new PciFunction(Edu.description(), new Edu());
		linux.machine.plug("0000:01:00.1", late, { group: 9 });
		expect(linux.machine.iommu.read(late, 0n, new Uint8Array(4))).toBe(true);
	});

	it("a device behind a hot-plugged bridge has its directory below the bridge's", () => {
		const linux = boot();
		const kernel = linux.process();
		linux.machine.plug("0000:00:15.0", new PciFunction(rootPort({ secondary: 0x20, slot: 9 })));
		linux.machine.plug("0000:20:00.0", new PciFunction(Edu.description(), new Edu()));
		expect(kernel.readLink("/sys/bus/pci/devices/0000:20:00.0")).toBe(
			"../../../devices/pci0000:00/0000:00:15.0/0000:20:00.0",
		);
		expect(driverOf(kernel, "0000:00:15.0")).toBe("pcieport");
	});

	it("a device that is pulled out while it is open goes when it is closed", () => {
		const linux = boot();
		const kernel = linux.process();
		const { group } = attach(kernel, EDU);
		const device = deviceFd(kernel, group, EDU);
		linux.machine.unplug(EDU);
		expect(kernel.readDirectory("/sys/bus/pci/devices")).toContain(EDU);
		kernel.close(device);
		expect(kernel.readDirectory("/sys/bus/pci/devices")).not.toContain(EDU);
		expect(outcome(() => openGroup(kernel, EDU))).toBe("ENOENT");
	});
});
