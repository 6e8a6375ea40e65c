/** Mediated devices whose driver throws, and containers in which no IOMMU looks at what is mapped. */
import { describe, expect, it } from "vitest";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_DEVICE_SET_IRQS,
	VFIO_IOMMU_DIRTY_PAGES,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
	VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
	VFIO_IRQ_SET_ACTION_TRIGGER,
	VFIO_IRQ_SET_DATA_EVENTFD,
	VFIO_PCI_REQ_IRQ_INDEX,
	vfio_iommu_type1_dirty_bitmap,
	vfio_irq_set,
} from "../../../core/uapi/vfio.ts";
import {
	Edu,
	type EmulatedDma,
	Host,
	Machine,
	type MediatedContext,
	type MediatedDevice,
	mediatedPciDevice,
	SimulatedLinux,
} from "../../../kernel-sim/mod.ts";
import { bindIommufd, NOTHING, openIommu } from "../iommufd/support.ts";
import { deviceFd, map, openContainer, outcome, PAGE, setContainer, setIommu, unmap } from "../linux/support.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const DEVICE = `/sys/bus/mdev/devices/${UUID}`;
const TRIGGER_EVENTFD = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
const BUG = "a driver with a bug";

function fail(): never {
	throw new Error(BUG);
}

/** A Linux with one mediated device. */
function made(create: (context: MediatedContext) => MediatedDevice, version: "6.12" | "7.2" = "7.2") {
	const driver = { name: "test", instances: 1, types: [{ name: "one", create }] };
	const linux = new SimulatedLinux({ host: new Host(new Machine()), mediated: [driver], version });
	const kernel = linux.process();
	kernel.writeFile("/sys/class/mdev_bus/test/mdev_supported_types/test-one/create", UUID);
	const group = () => kernel.open(`/dev/vfio/${kernel.readLink(`${DEVICE}/iommu_group`).split("/").at(-1)}`, O_RDWR);
	const inContainer = () => {
		const container = openContainer(kernel);
		const fd = group();
		setContainer(kernel, fd, container);
		setIommu(kernel, container);
		return { container, group: fd };
	};
	const cdev = () => kernel.open(`/dev/vfio/devices/${kernel.readDirectory(`${DEVICE}/vfio-dev`)[0]}`, O_RDWR);
	return { linux, kernel, inContainer, cdev };
}

const inert = { ioctl: () => -25, read: () => -22, write: () => -22 };

describe("a mediated device whose driver throws", () => {
	it("at its open: the group, or the file that it was bound to, is free again", () => {
		const { linux, kernel, inContainer } = made(() => ({ ...inert, open: fail }));
		expect(() => deviceFd(kernel, inContainer().group, UUID)).toThrow(BUG);
		kernel.exit();
		expect(linux.leaks()).toEqual(NOTHING);
		const next = linux.process();
		const path = next.readDirectory("/dev/vfio/devices")[0];
		const fd = next.open(`/dev/vfio/devices/${path}`, O_RDWR);
		expect(() => bindIommufd(next, fd, openIommu(next))).toThrow(BUG);
		next.exit();
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("as it is told of an unmap: the mapping is gone all the same when the container is", () => {
		let dma: EmulatedDma | undefined;
		const open = (given: EmulatedDma) => {
			dma = given;
			given.onUnmap(fail);
			return 0;
		};
		const { linux, kernel, inContainer } = made(() => ({ ...inert, open }));
		const { container, group } = inContainer();
		deviceFd(kernel, group, UUID);
		const memory = kernel.allocate(8192);
		for (const iova of [0n, PAGE]) map(kernel, container, { vaddr: memory.address + iova, iova, size: PAGE });
		for (const iova of [0n, PAGE]) expect(dma?.pin(iova, 1)).not.toBeTypeOf("number");
		expect(linux.leaks().pinnedPages).toBe(2);
		expect(() => unmap(kernel, container, { iova: 0n, size: PAGE })).toThrow(BUG);
		expect(() => kernel.exit()).toThrow(BUG);
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("as it is reset at its close: eventfds and pins are given back", () => {
		class Broken extends Edu {
			broken = false;
			override reset(): void {
				super.reset();
				if (this.broken) fail();
			}
		}
		const model = new Broken();
		const { linux, kernel, inContainer } = made((context) =>
			mediatedPciDevice(context, { description: Edu.description(), model }),
		);
		const device = deviceFd(kernel, inContainer().group, UUID);
		const request = vfio_irq_set.create(4);
		Object.assign(request, { argsz: 24, flags: TRIGGER_EVENTFD, index: VFIO_PCI_REQ_IRQ_INDEX, count: 1 });
		new DataView(request.bytes.buffer).setInt32(20, kernel.eventfd(), true);
		kernel.ioctl(device, VFIO_DEVICE_SET_IRQS, request.bytes);
		model.broken = true;
		expect(() => kernel.exit()).toThrow(BUG);
		expect(linux.leaks()).toEqual(NOTHING);
	});
});

describe("a container in which only drivers use what is mapped", () => {
	const dirtyPages = (flags: number) => {
		const argument = vfio_iommu_type1_dirty_bitmap.create();
		Object.assign(argument, { argsz: vfio_iommu_type1_dirty_bitmap.size, flags });
		return argument.bytes;
	};

	it("tracks no mapping of more than 2^31 - 1 pages", () => {
		const { kernel, inContainer } = made(() => inert);
		const { container } = inContainer();
		const huge = { vaddr: 0n, iova: 0n, size: PAGE << 31n };
		map(kernel, container, huge);
		const start = () => kernel.ioctl(container, VFIO_IOMMU_DIRTY_PAGES, dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
		expect(outcome(start)).toBe("EINVAL");
		expect(unmap(kernel, container, { iova: 0n, size: huge.size })).toBe(huge.size);
		expect(outcome(start)).toBe(0);
		expect(outcome(() => map(kernel, container, huge))).toBe("EINVAL");
		kernel.ioctl(container, VFIO_IOMMU_DIRTY_PAGES, dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
		expect(outcome(() => map(kernel, container, huge))).toBe(0);
	});

	it("answers EFAULT to a driver where the user has no memory", () => {
		let dma: EmulatedDma | undefined;
		const open = (given: EmulatedDma) => {
			dma = given;
			return 0;
		};
		const { kernel, inContainer } = made(() => ({ ...inert, open }));
		const { container, group } = inContainer();
		deviceFd(kernel, group, UUID);
		map(kernel, container, { vaddr: 0x1000n, iova: 0n, size: PAGE });
		expect([dma?.read(0n, new Uint8Array(4)), dma?.write(0n, new Uint8Array(4))]).toEqual([-14, -14]);
	});
});

describe("/proc/self/fdinfo", () => {
	it.each(["6.12", "7.2"] as const)(
		"names a mediated device in sysfs on 7.2, also before it is bound; here: %s",
		(version) => {
			const { kernel, inContainer, cdev } = made(() => inert, version);
			const shown = (fd: number) => String.fromCharCode(...kernel.readFile(`/proc/self/fdinfo/${fd}`));
			const expected =
				version === "7.2" ? `vfio-device-syspath: /sys/devices/virtual/test/test/${UUID}\n` : "ino:\t1057\n";
			expect(shown(cdev())).toContain(expected);
			expect(shown(deviceFd(kernel, inContainer().group, UUID)).endsWith(expected)).toBe(true);
		},
	);
});
