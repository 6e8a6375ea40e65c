import { describe, expect, it } from "vitest";
import { KernelError } from "../../../core/errors.ts";
import { MAP_SHARED, O_CLOEXEC, O_RDONLY, O_RDWR, O_WRONLY, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import { VFIO_SET_IOMMU } from "../../../core/uapi/vfio.ts";
import { attach, bind, boot, deviceFd, EDU, NVME, openContainer, openGroup, outcome, sysfs, text } from "./support.ts";

/** The error that a call throws. */
function failure(call: () => unknown): KernelError {
	try {
		call();
	} catch (error) {
		if (error instanceof KernelError) return error;
		throw error;
	}
	throw new Error("It did not fail");
}

describe("SimProcess file descriptors", () => {
	it("open() gives the lowest free number, from 3 on", () => {
		const kernel = boot().process();
		const fds = [1, 2, 3].map(() => openContainer(kernel));
		expect(fds).toEqual([3, 4, 5]);
		kernel.close(4);
		kernel.close(3);
		expect([1, 2, 3].map(() => kernel.eventfd())).toEqual([3, 4, 6]);
	});

	it("calls refuse a descriptor that is not open with EBADF", () => {
		const kernel = boot().process();
		const buffer = new Uint8Array(8);
		for (const fd of [-1, 3, 99, 1.5]) {
			const calls = [
				() => kernel.close(fd),
				() => kernel.dup(fd),
				() => kernel.ioctl(fd, VFIO_SET_IOMMU, 3),
				() => kernel.read(fd, buffer),
				() => kernel.write(fd, buffer),
				() => kernel.pread(fd, buffer, 0),
				() => kernel.pwrite(fd, buffer, 0),
				() => kernel.mmap(fd, 4096, 3, MAP_SHARED, 0),
				() => kernel.watch(fd, () => {}),
			];
			expect(calls.map((call) => outcome(call))).toEqual(calls.map(() => "EBADF"));
		}
	});

	it("open() and eventfd() fail with EMFILE when all numbers are taken", () => {
		const kernel = boot().process({ openFilesLimit: 4 });
		openContainer(kernel);
		const calls = [
			() => openContainer(kernel),
			() => kernel.open("/nosuch", 0),
			() => kernel.eventfd(),
			() => kernel.dup(3),
		];
		expect(calls.map((call) => outcome(call))).toEqual(Array(4).fill("EMFILE"));
	});

	it("read() and write() respect how the file was opened", () => {
		const kernel = boot().process();
		const config = sysfs(EDU, "config");
		const readOnly = kernel.open(config, O_RDONLY);
		const writeOnly = kernel.open(config, O_WRONLY);
		const buffer = new Uint8Array(4);
		expect(outcome(() => kernel.write(readOnly, buffer))).toBe("EBADF");
		expect(outcome(() => kernel.pwrite(readOnly, buffer, 0))).toBe("EBADF");
		expect(outcome(() => kernel.read(writeOnly, buffer))).toBe("EBADF");
		expect(outcome(() => kernel.pread(writeOnly, buffer, 0))).toBe("EBADF");
		expect(kernel.read(readOnly, buffer)).toBe(4);
		expect([...buffer]).toEqual([0x34, 0x12, 0xe8, 0x11]);
		expect(kernel.read(readOnly, buffer)).toBe(4);
		expect(text(kernel, `/proc/self/fdinfo/${readOnly}`)).toMatch(/^pos:\t8\nflags:\t00\n/);
	});

	it("exit() closes descriptors in ascending order", () => {
		const kernel = boot().process();
		const closed: number[] = [];
		for (const _ of [1, 2, 3]) {
			const fd = openContainer(kernel);
			kernel.file(fd)?.whenReleased(() => closed.push(fd));
		}
		kernel.exit();
		expect(closed).toEqual([3, 4, 5]);
		expect(kernel.alive).toBe(false);
	});

	it("failures name the request and the file", () => {
		const kernel = boot().process();
		bind(kernel, NVME);
		const group = openGroup(kernel, NVME);
		expect(failure(() => kernel.ioctl(group, 0x3b69))).toMatchObject({
			call: "VFIO_GROUP_UNSET_CONTAINER",
			target: "/dev/vfio/10",
		});
		expect(failure(() => kernel.ioctl(openContainer(kernel), 0x3b70, 0))).toMatchObject({
			call: "VFIO_IOMMU_GET_INFO",
			target: "/dev/vfio/vfio",
		});
		expect(failure(() => kernel.open("/nosuch", 0))).toMatchObject({ call: "open", target: "/nosuch" });
		expect(failure(() => kernel.read(kernel.eventfd(), new Uint8Array(8)))).toMatchObject({
			call: "read",
			target: "fd 5",
		});
	});
});

describe("SimProcess permissions", () => {
	it("open() needs the node's permission bits or CAP_DAC_OVERRIDE", () => {
		const linux = boot();
		bind(linux.process(), NVME);
		const user = linux.process({ uid: 1000 });
		openContainer(user);
		expect(outcome(() => openGroup(user, NVME))).toBe("EACCES");
		const able = linux.process({ uid: 1000, capabilities: ["CAP_DAC_OVERRIDE"] });
		const fd = openGroup(able, NVME);
		able.close(fd);
		expect(outcome(() => openGroup(linux.process({ capabilities: [] }), NVME))).toBeGreaterThan(2);
	});

	it("writeFile() of an unprivileged user is refused with EACCES", () => {
		const user = boot().process({ uid: 1000 });
		for (const path of [
			sysfs(EDU, "driver_override"),
			"/sys/bus/pci/drivers_probe",
			"/sys/bus/pci/drivers/nvme/unbind",
		])
			expect(outcome(() => user.writeFile(path, "x"))).toBe("EACCES");
		expect(text(user, sysfs(EDU, "vendor"))).toBe("0x1234\n");
	});

	it("open() goes by the mode that the node has been given, as udev does it", () => {
		const linux = boot();
		bind(linux.process(), NVME);
		expect(linux.files.chmod("/dev/vfio/10", 0o666)).toBe(0);
		expect(linux.files.chmod("/dev/vfio/11", 0o666)).toBe(-2);
		openGroup(linux.process({ uid: 1000 }), NVME);
	});

	it("chown() of what is not there fails", () => {
		const linux = boot();
		expect(outcome(() => linux.chown("/dev/vfio/99", 1))).toBe("ENOENT");
	});
});

describe("SimProcess memory", () => {
	it("allocate() gives whole zeroed pages at distinct addresses, the same in every run", () => {
		const addresses = () => {
			const kernel = boot().process();
			const memories = [1, 4096, 4097].map((length) => kernel.allocate(length));
			expect(memories.map((memory) => memory.length)).toEqual([4096, 4096, 8192]);
			expect(memories.every((memory) => memory.address % 4096n === 0n && memory.bytes[0] === 0)).toBe(true);
			return memories.map((memory) => memory.address);
		};
		const first = addresses();
		expect(new Set(first).size).toBe(3);
		expect(addresses()).toEqual(first);
	});

	it("two processes have different addresses", () => {
		const linux = boot();
		expect(linux.process().allocate(1).address).not.toBe(linux.process().allocate(1).address);
	});

	it("allocate() refuses what cannot be", () => {
		const kernel = boot().process();
		expect(outcome(() => kernel.allocate(0))).toBe("EINVAL");
		expect(outcome(() => kernel.allocate(1.5))).toBe("EINVAL");
		expect(outcome(() => kernel.allocate(2 ** 52))).toBe("ENOMEM");
	});

	it("adopt() gives an existing buffer an address", () => {
		const kernel = boot().process();
		const buffer = new Uint8Array(5000);
		const memory = kernel.adopt(buffer);
		expect(memory.length).toBe(5000);
		expect(memory.bytes).toBe(buffer);
		expect(kernel.memory.write(memory.address + 4998n, Uint8Array.of(1, 2))).toBe(true);
		expect(buffer[4999]).toBe(2);
		expect(kernel.memory.write(memory.address + 4999n, Uint8Array.of(1, 2))).toBe(false);
		memory[Symbol.dispose]();
		expect(kernel.memory.read(memory.address, 1)).toBeUndefined();
	});

	it("fork() copies memory to the same addresses", () => {
		const kernel = boot().process();
		const memory = kernel.allocate(4096);
		memory.bytes[0] = 1;
		const child = kernel.fork();
		memory.bytes[0] = 2;
		expect(child.memory.read(memory.address, 1)).toEqual(Uint8Array.of(1));
		expect(child.allocate(1).address).toBe(kernel.allocate(1).address);
	});
});

describe("SimProcess mmap()", () => {
	it("places a region, gives each access to the device, and unmaps once", () => {
		const linux = boot();
		const kernel = linux.process();
		const { group } = attach(kernel, EDU);
		const fd = deviceFd(kernel, group, EDU);
		const bar = kernel.mmap(fd, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		bar.write(4, 4, 0x12345678);
		expect(bar.read(4, 4)).toBe(~0x12345678 >>> 0);
		expect(bar.address % 4096n).toBe(0n);
		expect(kernel.memory.read(bar.address, 4)).toBeUndefined();
		for (const wrong of [() => bar.read(0x1000, 4), () => bar.read(-4, 4), () => bar.read(0xffe, 4)])
			expect(outcome(wrong)).toBe("EFAULT");
		expect(outcome(() => bar.read(2, 4))).toBe("EINVAL");
		expect(linux.leaks().mappings).toBe(1);
		bar[Symbol.dispose]();
		bar[Symbol.dispose]();
		expect(linux.leaks().mappings).toBe(0);
		expect(outcome(() => bar.read(4, 4))).toBe("EFAULT");
	});

	it("respects the protection, and refuses bad arguments", () => {
		const kernel = boot().process();
		const { group } = attach(kernel, EDU);
		const fd = deviceFd(kernel, group, EDU);
		const bar = kernel.mmap(fd, 0x1000, PROT_READ, MAP_SHARED, 0);
		expect(outcome(() => bar.write(4, 4, 0))).toBe("EFAULT");
		expect(outcome(() => bar.write64(8, 0n))).toBe("EFAULT");
		for (const [length, flags, offset] of [
			[0, MAP_SHARED, 0],
			[4096, MAP_SHARED, 1],
			[4096, MAP_SHARED, -4096],
			[4096, 0, 0],
			[4096, 3, 0],
		] as const)
			expect(outcome(() => kernel.mmap(fd, length, PROT_READ, flags, offset))).toBe("EINVAL");
	});

	it("answers EIO while memory decoding is off", () => {
		const linux = boot();
		const kernel = linux.process();
		const { group } = attach(kernel, EDU);
		const fd = deviceFd(kernel, group, EDU);
		const bar = kernel.mmap(fd, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		kernel.pwrite(fd, new Uint8Array(2), 7 * 2 ** 40 + 4);
		const calls = [() => bar.read(0, 4), () => bar.read64(0), () => bar.write(4, 4, 0), () => bar.write64(8, 0n)];
		expect(calls.map((call) => outcome(call))).toEqual(Array(4).fill("EIO"));
	});
});

describe("procfs", () => {
	it("tells a process about itself", () => {
		const linux = boot();
		const kernel = linux.process({ uid: 7, memlock: 65536, name: "vmm", capabilities: ["CAP_IPC_LOCK"] });
		expect(text(kernel, "/proc/self/status")).toContain("Name:\tvmm\n");
		expect(text(kernel, "/proc/self/status")).toContain("Uid:\t7\t7\t7\t7\n");
		expect(text(kernel, "/proc/self/status")).toContain("CapEff:\t0000000000004000\n");
		expect(text(kernel, "/proc/self/limits")).toMatch(/^Max locked memory +65536 +65536 +bytes/m);
		expect(text(linux.process({ memlock: Number.POSITIVE_INFINITY }), "/proc/self/limits")).toMatch(
			/^Max locked memory +unlimited/m,
		);
		expect(text(kernel, "/proc/self/comm")).toBe("vmm\n");
		expect(kernel.readLink("/proc/self")).toBe(String(kernel.pid));
		const fd = kernel.open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
		expect(kernel.readLink(`/proc/self/fd/${fd}`)).toBe("/dev/vfio/vfio");
		expect(kernel.readDirectory("/proc/self/fd")).toEqual(["0", "1", "2", "3"]);
		expect(text(kernel, `/proc/self/fdinfo/${fd}`)).toContain("flags:\t02000002\n");
		for (const path of ["/proc/self/nosuch", "/proc/self/fdinfo/9"])
			expect(outcome(() => kernel.readFile(path))).toBe("ENOENT");
		expect(outcome(() => kernel.readLink("/proc/self/fd/9"))).toBe("ENOENT");
		const status = kernel.open("/proc/self/status", O_RDONLY);
		expect(kernel.read(status, new Uint8Array(5))).toBe(5);
	});

	it("tells what system it is", () => {
		expect(text(boot({ version: "7.2" }).process(), "/proc/sys/kernel/osrelease")).toBe("7.2.12\n");
		const kernel = boot().process();
		expect(kernel.name).toBe("simulated Linux 6.12");
		expect(text(kernel, "/proc/cmdline")).toContain("intel_iommu=on");
		expect(kernel.readFile("/dev/null").length).toBe(0);
		expect(outcome(() => kernel.readFile("/dev/vfio/vfio"))).toBe("EINVAL");
		kernel.writeFile("/dev/null", "nothing");
	});
});
