import { describe, expect, it } from "vitest";
import { O_RDONLY, O_RDWR } from "../../../core/uapi/fcntl.ts";
import { IOMMU_VFIO_IOAS, IOMMU_VFIO_IOAS_SET, iommu_vfio_ioas } from "../../../core/uapi/iommufd.ts";
import {
	VFIO_CHECK_EXTENSION,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_NOIOMMU_IOMMU,
	VFIO_TYPE1v2_IOMMU,
} from "../../../core/uapi/vfio.ts";
import {
	bind,
	boot,
	deviceFd,
	driverFile,
	EDU,
	groupFlags,
	groupOf,
	int32,
	map,
	openContainer,
	outcome,
	setContainer,
	setIommu,
	sysfs,
	text,
	unsetContainer,
} from "../linux/support.ts";
import { CONFIG, ioasAlloc, NOTHING, openIommu, request } from "./support.ts";

const MODE = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/** A host without an IOMMU whose administrator accepts that, and the edu device on vfio-pci. */
function open() {
	const linux = boot({ machine: { iommu: false } });
	const kernel = linux.process();
	kernel.writeFile(MODE, "1");
	bind(kernel, EDU);
	const path = `/dev/vfio/noiommu-${groupOf(kernel, EDU)}`;
	return { linux, kernel, path };
}

describe("a device without an IOMMU", () => {
	it("is not given to users unless the administrator says so", () => {
		const linux = boot({ machine: { iommu: false } });
		const kernel = linux.process();
		expect(text(kernel, MODE)).toBe("N\n");
		expect(outcome(() => bind(kernel, EDU))).toBe("EINVAL");
		expect(text(kernel, "/proc/sys/kernel/tainted")).toBe("0\n");
		kernel.writeFile(MODE, "Y");
		kernel.writeFile(driverFile("vfio-pci", "bind"), EDU);
		expect(text(kernel, "/proc/sys/kernel/tainted")).toBe("64\n");
	});

	it("has a group of VFIO's making while vfio-pci has it, and no character device", () => {
		const { kernel, path } = open();
		const group = groupOf(kernel, EDU);
		expect(text(kernel, `/sys/kernel/iommu_groups/${group}/name`)).toBe("vfio-noiommu\n");
		expect(kernel.readDirectory("/dev/vfio")).toEqual([path.slice("/dev/vfio/".length), "vfio"]);
		expect(kernel.readDirectory(sysfs(EDU, "vfio-dev/vfio0"))).toEqual([]);
		kernel.writeFile(driverFile("vfio-pci", "unbind"), EDU);
		expect(outcome(() => groupOf(kernel, EDU))).toBe("ENOENT");
		expect(kernel.readDirectory("/dev/vfio")).toEqual(["vfio"]);
		expect(kernel.readDirectory("/sys/kernel/iommu_groups")).toEqual([]);
	});

	it("wants CAP_SYS_RAWIO of whoever opens it", () => {
		const { linux, path } = open();
		linux.chown(path, 1000);
		const user = linux.process({ uid: 1000 });
		expect(outcome(() => user.open(path, O_RDWR))).toBe("EPERM");
		const trusted = linux.process({ uid: 1000, capabilities: ["CAP_SYS_RAWIO"] });
		expect(typeof trusted.open(path, O_RDWR)).toBe("number");
	});

	it("is opened through a container whose IOMMU is that there is none", () => {
		const { linux, kernel, path } = open();
		const container = openContainer(kernel);
		expect(kernel.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU)).toBe(1);
		const group = kernel.open(path, O_RDWR);
		expect(groupFlags(kernel, group)).toBe(1);
		setContainer(kernel, group, container);
		expect(groupFlags(kernel, group)).toBe(3);
		expect(kernel.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU)).toBe(0);
		expect(outcome(() => deviceFd(kernel, group, EDU))).toBe("EINVAL");
		expect(outcome(() => setIommu(kernel, container, VFIO_TYPE1v2_IOMMU))).toBe("ENODEV");
		expect(setIommu(kernel, container, VFIO_NOIOMMU_IOMMU)).toBe(0);
		expect(outcome(() => setIommu(kernel, container, VFIO_NOIOMMU_IOMMU))).toBe("EINVAL");
		using memory = kernel.allocate(4096);
		const mapping = { vaddr: memory.address, iova: 0n, size: 4096n };
		expect(outcome(() => map(kernel, container, mapping))).toBe("ENOTTY");
		const device = deviceFd(kernel, group, EDU);
		expect(kernel.pread(device, new Uint8Array(4), CONFIG)).toBe(4);
		expect(outcome(() => unsetContainer(kernel, group))).toBe("EBUSY");
		for (const fd of [device, group, container]) kernel.close(fd);
		memory[Symbol.dispose]();
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("does DMA to memory itself, whose place /proc/self/pagemap tells", () => {
		const { linux, kernel } = open();
		using memory = kernel.allocate(8192);
		const fd = kernel.open("/proc/self/pagemap", O_RDONLY);
		const entry = new DataView(new ArrayBuffer(8));
		kernel.pread(fd, new Uint8Array(entry.buffer), Number(memory.address / 4096n) * 8);
		const frame = entry.getBigUint64(0, true) & ((1n << 55n) - 1n);
		const fn = linux.pci.devices.get(EDU)?.fn;
		if (!fn) throw new Error("no edu");
		memory.bytes.set([1, 2, 3, 4], 4094);
		const bytes = new Uint8Array(4);
		expect(linux.machine.iommu.read(fn, frame * 4096n + 4094n, bytes)).toBe(true);
		expect([...bytes]).toEqual([1, 2, 3, 4]);
		expect(linux.machine.iommu.read(fn, 0n, bytes)).toBe(false);
		kernel.writeFile(driverFile("vfio-pci", "unbind"), EDU);
		expect(linux.machine.iommu.read(fn, frame * 4096n, bytes)).toBe(false);
	});

	it("keeps where its memory is to those with CAP_SYS_ADMIN", () => {
		const { linux } = open();
		const user = linux.process({ uid: 1000 });
		using memory = user.allocate(4096);
		const fd = user.open("/proc/self/pagemap", O_RDONLY);
		const entry = new DataView(new ArrayBuffer(8));
		user.pread(fd, new Uint8Array(entry.buffer), Number(memory.address / 4096n) * 8);
		expect(entry.getBigUint64(0, true)).toBe(1n << 63n);
		expect(outcome(() => user.pread(fd, new Uint8Array(8), 4))).toBe("EIO");
	});

	it("is opened on /dev/iommu, unless that has an address space", () => {
		const { linux, kernel, path } = open();
		const iommu = openIommu(kernel);
		const group = kernel.open(path, O_RDWR);
		kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, int32(iommu));
		expect(setIommu(kernel, iommu, VFIO_NOIOMMU_IOMMU)).toBe(0);
		expect(outcome(() => setIommu(kernel, iommu, VFIO_TYPE1v2_IOMMU))).toBe("EINVAL");
		const device = deviceFd(kernel, group, EDU);
		kernel.close(device);
		const ioas_id = ioasAlloc(kernel, iommu);
		request(kernel, iommu, IOMMU_VFIO_IOAS, iommu_vfio_ioas, { op: IOMMU_VFIO_IOAS_SET, ioas_id });
		expect(outcome(() => deviceFd(kernel, group, EDU))).toBe("EPERM");
		for (const fd of [group, iommu]) kernel.close(fd);
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("is something that devices with an IOMMU do not become by the mode", () => {
		const linux = boot();
		const kernel = linux.process();
		expect(kernel.ioctl(openContainer(kernel), VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU)).toBe(0);
		kernel.writeFile(MODE, "Y");
		expect(kernel.ioctl(openContainer(kernel), VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU)).toBe(1);
		bind(kernel, EDU);
		expect(kernel.readDirectory("/dev/vfio")).toContain(groupOf(kernel, EDU));
	});

	it("is never given to users by a kernel without the mode", () => {
		const kernel = boot({ machine: { iommu: false }, noIommu: false }).process();
		expect(outcome(() => kernel.readFile(MODE))).toBe("ENOENT");
		expect(outcome(() => bind(kernel, EDU))).toBe("EINVAL");
	});
});
