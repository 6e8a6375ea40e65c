import { describe, expect, it } from "vitest";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import { VFIO_DEVICE_GET_INFO, vfio_device_info } from "../../../core/uapi/vfio.ts";
import { bind, boot, driverFile, EDU, openGroup, outcome, sysfs, text } from "../linux/support.ts";
import {
	attachPt,
	bindIommufd,
	CONFIG,
	cdevName,
	destroy,
	detachPt,
	ioasAlloc,
	ioasMap,
	ioasUnmap,
	iovaRanges,
	NOTHING,
	openCdev,
	openIommu,
} from "./support.ts";

/** A booted kernel, a process, and everything of iommufd that a device needs. */
function open() {
	const linux = boot();
	const kernel = linux.process();
	const cdev = openCdev(kernel, EDU);
	const iommu = openIommu(kernel);
	return { linux, kernel, cdev, iommu };
}

function deviceInfo(fd: number) {
	const info = vfio_device_info.create();
	info.argsz = info.bytes.length;
	return [fd, VFIO_DEVICE_GET_INFO, info.bytes] as const;
}

/** The edu device as the IOMMU knows it. */
function eduOf(linux: ReturnType<typeof boot>) {
	const device = linux.pci.devices.get(EDU);
	if (!device) throw new Error("no edu");
	return device.fn;
}

describe("a device's character device", () => {
	it("is in /dev and in sysfs while a VFIO driver has the device", () => {
		const linux = boot();
		const kernel = linux.process();
		bind(kernel, EDU);
		const name = cdevName(kernel, EDU);
		expect(name).toMatch(/^vfio\d+$/);
		expect(kernel.readDirectory("/dev/vfio/devices")).toContain(name);
		expect(text(kernel, sysfs(EDU, `vfio-dev/${name}/dev`))).toMatch(/^\d+:\d+\n$/);
		kernel.writeFile(driverFile("vfio-pci", "unbind"), EDU);
		expect(outcome(() => kernel.readDirectory("/dev/vfio/devices"))).toBe("ENOENT");
	});

	it("182: answers EINVAL to everything until it is bound", () => {
		const { kernel, cdev, iommu } = open();
		expect(outcome(() => kernel.ioctl(...deviceInfo(cdev)))).toBe("EINVAL");
		expect(outcome(() => kernel.pread(cdev, new Uint8Array(4), CONFIG))).toBe("EINVAL");
		bindIommufd(kernel, cdev, iommu);
		expect(kernel.ioctl(...deviceInfo(cdev))).toBe(0);
		expect(kernel.pread(cdev, new Uint8Array(4), CONFIG)).toBe(4);
	});

	it("does not exist in a kernel without iommufd", () => {
		const kernel = boot({ iommufd: false }).process();
		bind(kernel, EDU);
		expect(outcome(() => openIommu(kernel))).toBe("ENOENT");
		expect(outcome(() => kernel.readDirectory("/dev/vfio/devices"))).toBe("ENOENT");
		expect(outcome(() => kernel.readDirectory("/sys/module/iommufd"))).toBe("ENOENT");
		expect(kernel.readDirectory(sysfs(EDU, `vfio-dev/${cdevName(kernel, EDU)}`))).not.toContain("dev");
	});

	it("186: excludes the group, and the group excludes it", () => {
		const { kernel, cdev, iommu } = open();
		const group = openGroup(kernel, EDU);
		expect(outcome(() => bindIommufd(kernel, cdev, iommu))).toBe("EBUSY");
		kernel.close(group);
		bindIommufd(kernel, cdev, iommu);
		expect(outcome(() => openGroup(kernel, EDU))).toBe("EBUSY");
		kernel.close(cdev);
		expect(typeof openGroup(kernel, EDU)).toBe("number");
	});

	it("185: is bound once, whatever the number of its files", () => {
		const { kernel, cdev, iommu } = open();
		expect(bindIommufd(kernel, cdev, iommu)).toBeGreaterThan(0);
		expect(outcome(() => bindIommufd(kernel, cdev, iommu))).toBe("EINVAL");
		const second = kernel.open(`/dev/vfio/devices/${cdevName(kernel, EDU)}`, O_RDWR);
		expect(outcome(() => bindIommufd(kernel, second, iommu))).toBe("EINVAL");
	});
});

describe("the DMA of a bound device", () => {
	it("goes through the address space that it is attached to", () => {
		const { linux, kernel, cdev, iommu } = open();
		const edu = eduOf(linux);
		bindIommufd(kernel, cdev, iommu);
		const ioas = ioasAlloc(kernel, iommu);
		using memory = kernel.allocate(4096);
		memory.bytes.set([1, 2, 3, 4], 16);
		ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0x10000n });
		const bytes = new Uint8Array(4);
		const read = () => linux.machine.iommu.read(edu, 0x10010n, bytes);
		expect(read()).toBe(false);
		expect(linux.faults.at(-1)?.reason).toBe("blocked");
		attachPt(kernel, cdev, ioas);
		expect(read()).toBe(true);
		expect([...bytes]).toEqual([1, 2, 3, 4]);
		linux.machine.iommu.write(edu, 0x10ffcn, Uint8Array.of(9, 9, 9, 9));
		expect([...memory.bytes.subarray(0xffc)]).toEqual([9, 9, 9, 9]);
		expect(ioasUnmap(kernel, iommu, ioas, 0x10000n)).toBe(4096n);
		expect(read()).toBe(false);
		expect(linux.faults.at(-1)?.reason).toBe("not-mapped");
		detachPt(kernel, cdev);
		expect(read()).toBe(false);
		expect(linux.faults.at(-1)?.reason).toBe("blocked");
	});

	it("190: the address space learns what the IOMMU cannot map", () => {
		const { kernel, cdev, iommu } = open();
		bindIommufd(kernel, cdev, iommu);
		const ioas = ioasAlloc(kernel, iommu);
		expect(iovaRanges(kernel, iommu, ioas)).toEqual({ ranges: [[0n, 2n ** 64n - 1n]], alignment: 1n });
		expect(attachPt(kernel, cdev, ioas)).not.toBe(ioas);
		expect(iovaRanges(kernel, iommu, ioas)).toEqual({
			ranges: [
				[0n, 0xfedfffffn],
				[0xfef00000n, 0xffff_ffff_ffffn],
			],
			alignment: 4096n,
		});
		expect(outcome(() => destroy(kernel, iommu, ioas))).toBe("EBUSY");
		detachPt(kernel, cdev);
		expect(iovaRanges(kernel, iommu, ioas).ranges).toEqual([[0n, 2n ** 64n - 1n]]);
		destroy(kernel, iommu, ioas);
	});

	it("191: moves to a second address space with no moment in between", () => {
		const { linux, kernel, cdev, iommu } = open();
		bindIommufd(kernel, cdev, iommu);
		const [first, second] = [ioasAlloc(kernel, iommu), ioasAlloc(kernel, iommu)];
		using memory = kernel.allocate(4096);
		for (const ioas of [first, second]) ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0n });
		attachPt(kernel, cdev, first);
		attachPt(kernel, cdev, second);
		destroy(kernel, iommu, first);
		expect(linux.machine.iommu.read(eduOf(linux), 0n, new Uint8Array(8))).toBe(true);
		expect(linux.leaks().pinnedPages).toBe(1);
	});
});

describe("what is left", () => {
	it.each(["DI", "ID"])("nothing, when device and /dev/iommu are closed in the order %s", (order) => {
		const { linux, kernel, cdev, iommu } = open();
		bindIommufd(kernel, cdev, iommu);
		const ioas = ioasAlloc(kernel, iommu);
		const memory = kernel.allocate(4096);
		ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0n });
		attachPt(kernel, cdev, ioas);
		expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 1, iommufdObjects: 3 });
		expect(text(kernel, "/proc/self/status")).toMatch(/VmPin:\s+4 kB/);
		for (const letter of order) kernel.close(letter === "D" ? cdev : iommu);
		memory[Symbol.dispose]();
		expect(linux.leaks()).toEqual(NOTHING);
		expect(text(kernel, "/proc/self/status")).toMatch(/VmPin:\s+0 kB/);
	});

	it("210: a bound device goes on when /dev/iommu is closed", () => {
		const { linux, kernel, cdev, iommu } = open();
		bindIommufd(kernel, cdev, iommu);
		kernel.close(iommu);
		expect(kernel.pread(cdev, new Uint8Array(4), CONFIG)).toBe(4);
		expect(linux.leaks().iommufdObjects).toBe(1);
		kernel.close(cdev);
		expect(linux.leaks()).toEqual(NOTHING);
	});
});
