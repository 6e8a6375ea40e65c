import { describe, expect, it } from "vitest";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_GROUP_GET_STATUS,
	VFIO_GROUP_SET_CONTAINER,
	vfio_group_status,
} from "../../../core/uapi/vfio.ts";
import {
	attach,
	bind,
	boot,
	cString,
	deviceFd,
	driverFile,
	driverOf,
	groupFlags,
	groupOf,
	map,
	NVME,
	openContainer,
	openGroup,
	outcome,
	PAGE,
	SHARED_EDU,
	SHARED_MEMORY,
	setContainer,
	setIommu,
	sysfs,
	unsetContainer,
} from "./support.ts";

describe("VfioGroup", () => {
	it("21: open() fails with ENOENT when no driver of VFIO has a device of the group", () => {
		const kernel = boot().process();
		expect(outcome(() => openGroup(kernel, NVME))).toBe("ENOENT");
		bind(kernel, NVME);
		openGroup(kernel, NVME);
	});

	it("22: open() fails with EBUSY for everybody while it is open", () => {
		const linux = boot();
		const kernel = linux.process();
		bind(kernel, NVME);
		const group = openGroup(kernel, NVME);
		expect(outcome(() => openGroup(kernel, NVME))).toBe("EBUSY");
		expect(outcome(() => openGroup(linux.process(), NVME))).toBe("EBUSY");
		kernel.close(group);
		openGroup(linux.process(), NVME);
	});

	it.each([
		["23", 4, "EINVAL"],
		["23", 7, "EINVAL"],
		["23", 8, 1],
		["23", 64, 1],
	])("%s: GET_STATUS with argsz %i answers %s", (_, argsz, expected) => {
		const kernel = boot().process();
		bind(kernel, NVME);
		const group = openGroup(kernel, NVME);
		const status = vfio_group_status.create();
		Object.assign(status, { argsz, flags: 0xff });
		const result = outcome(() => kernel.ioctl(group, VFIO_GROUP_GET_STATUS, status.bytes));
		expect(result === 0 ? status.flags : result).toBe(expected);
	});

	it("24, 32, 44: requests refuse a null pointer with EFAULT", () => {
		const kernel = boot().process();
		bind(kernel, NVME);
		const group = openGroup(kernel, NVME);
		for (const request of [VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD])
			expect(outcome(() => kernel.ioctl(group, request, 0))).toBe("EFAULT");
	});

	it("25: GET_STATUS says that a container is set", () => {
		const kernel = boot().process();
		expect(groupFlags(kernel, attach(kernel).group)).toBe(3);
	});

	it("26: a group is not viable while a sibling has a native driver", () => {
		const kernel = boot().process();
		bind(kernel, SHARED_EDU);
		bind(kernel, SHARED_MEMORY, "nvme");
		const group = openGroup(kernel, SHARED_EDU);
		expect(groupFlags(kernel, group)).toBe(0);
		expect(outcome(() => setContainer(kernel, group, openContainer(kernel)))).toBe("EPERM");
		kernel.writeFile(driverFile("nvme", "unbind"), SHARED_MEMORY);
		expect(groupFlags(kernel, group)).toBe(1);
		expect(setContainer(kernel, group, openContainer(kernel))).toBe(0);
	});

	it.each([
		["27", undefined],
		["28", "pci-stub"],
	])("%s: a group is viable while a sibling has the driver %s", (_, driver) => {
		const kernel = boot().process();
		bind(kernel, SHARED_EDU);
		if (driver) bind(kernel, SHARED_MEMORY, driver);
		const group = openGroup(kernel, SHARED_EDU);
		expect(groupFlags(kernel, group)).toBe(1);
		expect(setContainer(kernel, group, openContainer(kernel))).toBe(0);
	});

	it("29: a native driver cannot bind to a sibling while the group has an owner", () => {
		const kernel = boot().process();
		attach(kernel, SHARED_EDU);
		kernel.writeFile(sysfs(SHARED_MEMORY, "driver_override"), "nvme");
		expect(outcome(() => kernel.writeFile(driverFile("nvme", "bind"), SHARED_MEMORY))).toBe("EBUSY");
		// Recorded on 6.12: through drivers_probe it is EINVAL.
		expect(outcome(() => kernel.writeFile("/sys/bus/pci/drivers_probe", SHARED_MEMORY))).toBe("EINVAL");
		expect(driverOf(kernel, SHARED_MEMORY)).toBeUndefined();
		bind(kernel, SHARED_MEMORY, "pci-stub");
	});

	it("30, 31: SET_CONTAINER refuses what is not a container", () => {
		const kernel = boot().process();
		bind(kernel, NVME);
		const group = openGroup(kernel, NVME);
		const closed = openContainer(kernel);
		kernel.close(closed);
		expect(outcome(() => setContainer(kernel, group, -1))).toBe("EBADF");
		expect(outcome(() => setContainer(kernel, group, closed))).toBe("EBADF");
		expect(outcome(() => setContainer(kernel, group, kernel.eventfd()))).toBe("EBADFD");
		expect(outcome(() => setContainer(kernel, group, kernel.open("/dev/null", O_RDWR)))).toBe("EBADFD");
		expect(outcome(() => setContainer(kernel, group, group))).toBe("EBADFD");
	});

	it("33: SET_CONTAINER refuses a second one with EINVAL, after the file descriptor was looked up", () => {
		const kernel = boot().process();
		const { group, container } = attach(kernel);
		expect(outcome(() => setContainer(kernel, group, container))).toBe("EINVAL");
		expect(outcome(() => setContainer(kernel, group, kernel.eventfd()))).toBe("EINVAL");
		expect(outcome(() => setContainer(kernel, group, -1))).toBe("EBADF");
	});

	it("34, 35, 36: UNSET_CONTAINER needs a container and no open device, and ends all mappings", () => {
		const linux = boot();
		const kernel = linux.process();
		const { container, group } = attach(kernel);
		const device = deviceFd(kernel, group, NVME);
		const { address: vaddr } = kernel.allocate(4096);
		map(kernel, container, { vaddr, iova: 0n, size: PAGE });
		expect(outcome(() => unsetContainer(kernel, group))).toBe("EBUSY");
		kernel.close(device);
		expect(unsetContainer(kernel, group)).toBe(0);
		expect(linux.leaks()).toMatchObject({ dmaMappings: 0, pinnedPages: 0 });
		expect(kernel.lockedPages).toBe(0);
		expect(outcome(() => unsetContainer(kernel, group))).toBe("EINVAL");
		expect(groupFlags(kernel, group)).toBe(1);
		expect(outcome(() => map(kernel, container, { vaddr, iova: 0n, size: PAGE }))).toBe("EINVAL");
		expect(setContainer(kernel, group, container)).toBe(0);
		expect(setIommu(kernel, container, 1)).toBe(0);
	});

	it("37, 38: GET_DEVICE_FD looks for the name first, then for the container and its IOMMU", () => {
		const kernel = boot().process();
		bind(kernel, NVME);
		const group = openGroup(kernel, NVME);
		expect(outcome(() => deviceFd(kernel, group, NVME))).toBe("EINVAL");
		expect(outcome(() => deviceFd(kernel, group, "0000:05:00.1"))).toBe("ENODEV");
		const container = openContainer(kernel);
		setContainer(kernel, group, container);
		expect(outcome(() => deviceFd(kernel, group, NVME))).toBe("EINVAL");
		setIommu(kernel, container);
		expect(deviceFd(kernel, group, NVME)).toBeGreaterThan(2);
	});

	it.each([
		["39", "", "ENODEV"],
		["39", "0000:ff:1f.7", "ENODEV"],
		["40", `${NVME}x`, "ENODEV"],
		["40", `${NVME} `, "fd"],
		["41", `${NVME} foo=1`, "EINVAL"],
		["42", `${NVME} vf_token=short`, "EINVAL"],
		["42", `${NVME} vf_token=zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz`, "EINVAL"],
		["43", `${NVME} vf_token=2ab74924-c335-45f4-9b16-8569e5b08258`, "EINVAL"],
		["44", "x".repeat(4096), "EINVAL"],
		["44", "x".repeat(4095), "ENODEV"],
	])("%s: GET_DEVICE_FD %.40j answers %s", (_, name, expected) => {
		const kernel = boot().process();
		const { group } = attach(kernel);
		const result = outcome(() => deviceFd(kernel, group, name));
		expect(typeof result === "number" ? "fd" : result).toBe(expected);
	});

	it("44: GET_DEVICE_FD refuses a string that runs off the caller's memory with EFAULT", () => {
		const kernel = boot().process();
		const { group } = attach(kernel);
		const unterminated = cString(NVME).subarray(0, -1);
		expect(outcome(() => kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, unterminated))).toBe("EFAULT");
		const string = kernel.allocate(4096);
		string.bytes.set(cString(NVME));
		expect(kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, Number(string.address))).toBeGreaterThan(2);
	});

	it("45, 46: GET_DEVICE_FD makes another descriptor each time, closed on exec", () => {
		const kernel = boot().process();
		const { group } = attach(kernel);
		const first = deviceFd(kernel, group, NVME);
		const second = deviceFd(kernel, group, NVME);
		expect(second).not.toBe(first);
		expect([first, second].map((fd) => kernel.isCloseOnExec(fd))).toEqual([true, true]);
		kernel.close(first);
		expect(kernel.pread(second, new Uint8Array(4), 7 * 2 ** 40)).toBe(4);
	});

	it("45: GET_DEVICE_FD fails with EMFILE when there is no descriptor left, and opens nothing", () => {
		const linux = boot();
		const kernel = linux.process({ openFilesLimit: 5 });
		const { group } = attach(kernel);
		expect(outcome(() => deviceFd(kernel, group, NVME))).toBe("EMFILE");
		expect(unsetContainer(kernel, group)).toBe(0);
	});

	it("47: unknown requests are refused with ENOTTY", () => {
		const kernel = boot().process();
		bind(kernel, NVME);
		const group = openGroup(kernel, NVME);
		expect(outcome(() => kernel.ioctl(group, 0x3b7f, new Uint8Array(64)))).toBe("ENOTTY");
		expect(outcome(() => kernel.read(group, new Uint8Array(4)))).toBe("EINVAL");
		expect(outcome(() => kernel.mmap(group, 4096, 3, 1, 0))).toBe("ENODEV");
	});

	it("48: an open device keeps its group open", () => {
		const kernel = boot().process();
		const { group } = attach(kernel);
		const device = deviceFd(kernel, group, NVME);
		kernel.close(group);
		expect(outcome(() => openGroup(kernel, NVME))).toBe("EBUSY");
		kernel.close(device);
		const again = openGroup(kernel, NVME);
		expect(groupFlags(kernel, again)).toBe(1);
	});

	it("49: a user needs the group's node, and nothing else", () => {
		const linux = boot();
		bind(linux.process(), NVME);
		const user = linux.process({ uid: 1000 });
		expect(outcome(() => openGroup(user, NVME))).toBe("EACCES");
		linux.chown(`/dev/vfio/${groupOf(user, NVME)}`, 1000);
		const { container, group } = attach(user);
		expect(deviceFd(user, group, NVME)).toBeGreaterThan(2);
		const { address: vaddr } = user.allocate(4096);
		expect(map(user, container, { vaddr, iova: 0n, size: PAGE })).toBe(0);
	});
});
