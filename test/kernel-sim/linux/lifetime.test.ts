import { describe, expect, it } from "vitest";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import { VFIO_GROUP_GET_STATUS } from "../../../core/uapi/vfio.ts";
import {
	attach,
	bind,
	boot,
	deviceFd,
	driverFile,
	driverOf,
	EDU,
	groupFlags,
	map,
	NVME,
	openContainer,
	openGroup,
	outcome,
	PAGE,
	setContainer,
	sysfs,
	unsetContainer,
} from "./support.ts";

const NOTHING = {
	openFiles: 0,
	mappings: 0,
	dmaMappings: 0,
	iommufdObjects: 0,
	pinnedPages: 0,
	eventfds: 0,
	watches: 0,
	timers: 0,
	memory: 0,
	virtualMachines: 0,
};
const CONFIG = 7 * 2 ** 40;
const SECOND = 1_000_000_000;

/** A process with everything open: container C, group G, device D, and a mapping. */
function open() {
	const linux = boot();
	const kernel = linux.process();
	const { container, group } = attach(kernel);
	const device = deviceFd(kernel, group, NVME);
	const memory = kernel.allocate(4096);
	map(kernel, container, { vaddr: memory.address, iova: 0n, size: PAGE });
	return { linux, kernel, container, group, device, memory };
}

const permutations = (letters: string): string[] =>
	letters.length < 2
		? [letters]
		: [...letters].flatMap((letter) => permutations(letters.replace(letter, "")).map((rest) => letter + rest));

describe("lifetimes", () => {
	it.each(permutations("CGD"))("244: everything is given back when it is closed in the order %s", (order) => {
		const { linux, kernel, container, group, device, memory } = open();
		const fds = { C: container, G: group, D: device };
		for (const letter of order) kernel.close(fds[letter as "C" | "G" | "D"]);
		memory[Symbol.dispose]();
		expect(linux.leaks()).toEqual(NOTHING);
		expect(kernel.lockedPages).toBe(0);
		expect(linux.vfio.containers.size).toBe(0);
		const again = attach(kernel);
		expect(deviceFd(kernel, again.group, NVME)).toBeGreaterThan(2);
	});

	it("242: exit gives everything back", () => {
		const { linux, kernel, device } = open();
		kernel.mmap(device, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		const eventfd = kernel.eventfd();
		kernel.watch(eventfd, () => {});
		kernel.write(eventfd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
		kernel.exit();
		kernel.exit();
		expect(linux.leaks()).toEqual(NOTHING);
		expect(kernel.lockedPages).toBe(0);
		expect(linux.machine.function(NVME)?.busMasterEnabled).toBe(false);
		expect(outcome(() => kernel.open("/dev/null", 0))).toBe("ECANCELED");
		expect(outcome(() => kernel.allocate(1))).toBe("ECANCELED");
		const next = linux.process();
		expect(deviceFd(next, attach(next).group, NVME)).toBeGreaterThan(2);
	});

	it("241: a mapped BAR keeps the device open after everything is closed", async () => {
		const { linux, kernel, container, group, device } = open();
		const bar = kernel.mmap(device, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		kernel.close(device);
		expect(outcome(() => unsetContainer(kernel, group))).toBe("EBUSY");
		kernel.close(group);
		kernel.close(container);
		expect(linux.leaks()).toMatchObject({ openFiles: 1, mappings: 1, dmaMappings: 1 });
		let returned = false;
		const unbind = linux.writeFileAsync(linux.process(), driverFile("vfio-pci", "unbind"), NVME).then(() => {
			returned = true;
		});
		await Promise.resolve();
		expect(returned).toBe(false);
		expect(bar.read(0, 4)).toBeGreaterThan(0);
		bar[Symbol.dispose]();
		await unbind;
		expect(driverOf(kernel, NVME)).toBeUndefined();
		expect(linux.leaks()).toMatchObject({ openFiles: 0, mappings: 0, dmaMappings: 0, timers: 0 });
	});

	it("243: a child keeps the device open after its parent has exited", () => {
		const { linux, kernel, device, container } = open();
		const child = kernel.fork();
		kernel.exit();
		expect(outcome(() => openGroup(linux.process(), NVME))).toBe("EBUSY");
		expect(child.pread(device, new Uint8Array(4), CONFIG)).toBe(4);
		const { address: vaddr } = child.allocate(4096);
		expect(map(child, container, { vaddr, iova: 0x10000n, size: PAGE })).toBe(0);
		child.exit();
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("243: dup() makes another descriptor of the same open file", () => {
		const { kernel, device, group } = open();
		const copy = kernel.dup(device);
		kernel.close(device);
		expect(kernel.pread(copy, new Uint8Array(4), CONFIG)).toBe(4);
		expect(outcome(() => unsetContainer(kernel, group))).toBe("EBUSY");
		kernel.close(copy);
		expect(unsetContainer(kernel, group)).toBe(0);
	});

	it("245: unbind while the device is open takes the membership at once and waits for the close", async () => {
		const { linux, kernel, group, device, memory } = open();
		const administrator = linux.process();
		// There is one thread, and it would wait for itself.
		expect(outcome(() => administrator.writeFile(driverFile("vfio-pci", "unbind"), NVME))).toBe("EDEADLK");
		expect(outcome(() => deviceFd(kernel, group, NVME))).toBe("ENODEV");
		expect(driverOf(kernel, NVME)).toBeUndefined();
		expect(outcome(() => kernel.readDirectory(sysfs(NVME, "vfio-dev")))).toBe("ENOENT");
		expect(kernel.pread(device, new Uint8Array(4), CONFIG)).toBe(4);
		const order: string[] = [];
		const second = linux
			.writeFileAsync(administrator, driverFile("vfio-pci", "unbind"), NVME)
			.catch((error) => order.push(`second unbind: ${error.errno}`));
		kernel.writeFile(sysfs(NVME, "driver_override"), "\n");
		const rebind = linux.writeFileAsync(administrator, driverFile("nvme", "bind"), NVME).catch((error) => {
			order.push(`bind: ${error.errno}`);
		});
		await Promise.resolve();
		expect(order).toEqual([]);
		kernel.close(device);
		await Promise.all([second, rebind]);
		// ENODEV: it is not bound to vfio-pci any more. The group's descriptor does not own DMA any more either.
		expect(order).toEqual(["second unbind: 19"]);
		expect(driverOf(kernel, NVME)).toBe("nvme");
		expect(outcome(() => kernel.ioctl(group, VFIO_GROUP_GET_STATUS, new Uint8Array([8, 0, 0, 0, 0, 0, 0, 0])))).toBe(
			"ENODEV",
		);
		kernel.close(group);
		memory[Symbol.dispose]();
		expect(linux.leaks().timers).toBe(0);
	});

	it("245: the user is asked for the device at once and every ten seconds", () => {
		const { linux, kernel, device } = open();
		let requests = 0;
		const record = [...linux.vfio.groups.values()].flatMap((group) => group.devices)[0];
		const ops = record?.ops as { request?: (count: number) => void };
		ops.request = () => requests++;
		outcome(() => kernel.writeFile(driverFile("vfio-pci", "unbind"), NVME));
		expect(requests).toBe(1);
		linux.clock.settle();
		linux.clock.advance(25 * SECOND);
		expect(requests).toBe(3);
		kernel.close(device);
		expect(linux.clock.pending).toBe(0);
	});

	it("a group whose last device is unbound is dead for who has it open, and made anew for others", () => {
		const linux = boot();
		const kernel = linux.process();
		const { container, group } = attach(kernel);
		kernel.writeFile(driverFile("vfio-pci", "unbind"), NVME);
		expect(kernel.readDirectory("/dev/vfio")).toEqual(["vfio"]);
		expect(outcome(() => groupFlags(kernel, group))).toBe("ENODEV");
		expect(outcome(() => setContainer(kernel, group, container))).toBe("ENODEV");
		expect(outcome(() => deviceFd(kernel, group, NVME))).toBe("ENODEV");
		expect(outcome(() => unsetContainer(kernel, group))).toBe("EINVAL");
		kernel.writeFile(driverFile("vfio-pci", "bind"), NVME);
		const fresh = openGroup(kernel, NVME);
		expect(setContainer(kernel, fresh, container)).toBe(0);
		kernel.close(group);
		expect(groupFlags(kernel, fresh)).toBe(3);
	});

	it("two processes compete for a group, and each has what it opened first", () => {
		const linux = boot();
		const [first, second] = [linux.process(), linux.process()];
		attach(first, NVME);
		bind(second, EDU);
		expect(outcome(() => openGroup(second, NVME))).toBe("EBUSY");
		attach(second, EDU);
		expect(outcome(() => openGroup(first, EDU))).toBe("EBUSY");
		first.exit();
		openGroup(second, NVME);
	});

	it("a device model that throws while it is reset does not keep anything open", () => {
		const { linux, kernel, group, container, device } = open();
		const model = linux.machine.function(NVME)?.model as { reset(): void };
		const reset = model.reset.bind(model);
		model.reset = () => {
			throw new Error("misbehaves");
		};
		const bar = kernel.mmap(device, 0x1000, PROT_READ, MAP_SHARED, 0);
		expect(kernel.file(device)?.released).toBe(false);
		expect(() => kernel.exit()).toThrow("misbehaves");
		expect(outcome(() => bar.read(0, 4))).toBe("EFAULT");
		model.reset = reset;
		expect(linux.leaks()).toEqual(NOTHING);
		expect([container, group].map((fd) => kernel.file(fd))).toEqual([undefined, undefined]);
		const next = linux.process();
		expect(deviceFd(next, attach(next).group, NVME)).toBeGreaterThan(2);
	});

	it("an empty container can be used again for another type", () => {
		const linux = boot();
		const kernel = linux.process();
		const { container, group } = attach(kernel, NVME, 3);
		kernel.close(group);
		expect(linux.vfio.containers.size).toBe(1);
		const again = openGroup(kernel, NVME);
		setContainer(kernel, again, container);
		expect(kernel.ioctl(container, 0x3b66, 1)).toBe(0);
		kernel.close(openContainer(kernel));
		expect(linux.vfio.containers.size).toBe(1);
	});
});
