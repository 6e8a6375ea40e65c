import { beforeEach, describe, expect, it } from "vitest";
import { Container } from "../../../core/device/container.ts";
import { VfioDevice } from "../../../core/device/device.ts";
import { Group } from "../../../core/device/group.ts";
import { KernelError } from "../../../core/errors.ts";
import { FailingKernel } from "../../../core/failing-kernel.ts";
import { EACCES, EAGAIN, EBUSY, EINTR, EINVAL, EIO, ENODEV, EPERM } from "../../../core/uapi/errno.ts";
import {
	VFIO_CHECK_EXTENSION,
	VFIO_DEVICE_GET_INFO,
	VFIO_DEVICE_GET_REGION_INFO,
	VFIO_GET_API_VERSION,
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_GROUP_GET_STATUS,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_SET_IOMMU,
	VFIO_TYPE1_IOMMU,
	VFIO_TYPE1v2_IOMMU,
	vfio_group_status,
} from "../../../core/uapi/vfio.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";

const ADDRESS = "0000:05:00.0";
let fake: FakeVfio;
beforeEach(() => {
	fake = new FakeVfio();
});
const open = (options = {}) => VfioDevice.open(fake.kernel, "05:00.0", options);
const refusal = (options = {}) => vfioError(() => open(options));

/** A call that answers with `errno` so often, and then as it would. */
const failing = (times: number, errno: number) => {
	let left = times;
	return () => {
		if (left-- > 0) throw new KernelError(errno, "scripted", "fake");
		return undefined as unknown as number;
	};
};

describe("VfioDevice.open()", () => {
	it("opens the group, the container and the device, and dispose closes them in reverse order", () => {
		const device = open();
		expect([device.name, device.resettable, device.regionCount, device.irqCount]).toEqual([ADDRESS, true, 9, 5]);
		expect(device.container?.type).toBe(VFIO_TYPE1v2_IOMMU);
		device[Symbol.dispose]();
		device[Symbol.dispose]();
		expect(fake.kernel.log).toEqual([
			"open /dev/vfio/12",
			"open /dev/vfio/vfio",
			`close ${ADDRESS}`,
			"unset container",
			"close /dev/vfio/vfio",
			"close /dev/vfio/12",
		]);
	});

	it("L-04 takes IOMMU type 1 when there is no version 2, and says so when there is neither", () => {
		fake.extensions.delete(VFIO_TYPE1v2_IOMMU);
		expect(open().container?.type).toBe(VFIO_TYPE1_IOMMU);
		fake = new FakeVfio();
		fake.extensions.clear();
		expect(refusal().code).toBe("unsupported-iommu");
		expect(fake.leaks).toEqual([]);
	});

	it("tests the group's flags bit by bit: flags it does not know change nothing", () => {
		fake.answers.set(VFIO_GROUP_GET_STATUS, (argument) => {
			vfio_group_status.view(argument as Uint8Array).flags = 0x81;
			return 0;
		});
		expect(open().name).toBe(ADDRESS);
	});

	it("Z-2 accepts more regions and interrupts than it knows", () => {
		fake.deviceInfo = { flags: 2, regions: 14, irqs: 9 };
		expect(open().resettable).toBe(false);
	});

	it("passes a virtual function's token with the name", () => {
		let name = "";
		fake.kernel.files.set(`/sys/bus/pci/devices/${ADDRESS}/sriov_totalvfs`, "7\n");
		fake.answers.set(VFIO_GROUP_GET_DEVICE_FD, (argument) => {
			name = String.fromCharCode(...(argument as Uint8Array));
			return fake.kernel.install("device", {});
		});
		vfioError(() => open({ vfToken: "e5c1a1c0-0000-4000-8000-000000000001" }));
		expect(name).toBe(`${ADDRESS} vf_token=e5c1a1c0-0000-4000-8000-000000000001\0`);
	});

	it.each([
		[EINTR, VFIO_GROUP_GET_STATUS],
		[EINTR, VFIO_GROUP_SET_CONTAINER],
		[EAGAIN, VFIO_GROUP_GET_DEVICE_FD],
		[EINTR, VFIO_DEVICE_GET_INFO],
	])("tries again when errno %i interrupts request 0x%i", (errno, request) => {
		fake.answers.set(request, failing(3, errno));
		expect(open().name).toBe(ADDRESS);
	});

	const node = (path: string, errno: number) =>
		fake.kernel.nodes.set(path, () => fake.kernel.fail(errno, "open", path));
	const answer = (request: number, errno: number) => fake.answers.set(request, errno);
	const refusals: [code: string, when: string, arrange: () => unknown, address?: string][] = [
		["malformed-address", "not a PCI address", () => {}, "disk0"],
		["no-such-device", "nothing there", () => {}, "05:00.1"],
		["not-bound", "the group has no node", () => fake.kernel.nodes.delete("/dev/vfio/12")],
		["no-permission", "the node is root's", () => node("/dev/vfio/12", EACCES)],
		["device-in-use", "another process has the group", () => node("/dev/vfio/12", EBUSY)],
		["kernel", "the node does not open", () => node("/dev/vfio/12", EIO)],
		["kernel", "the group does not answer", () => answer(VFIO_GROUP_GET_STATUS, EIO)],
		["group-not-viable", "the status says so", () => Object.assign(fake, { viable: false })],
		["group-not-viable", "joining a container says so", () => answer(VFIO_GROUP_SET_CONTAINER, EPERM)],
		["device-in-use", "the group has another owner", () => answer(VFIO_GROUP_SET_CONTAINER, EBUSY)],
		["kernel", "the container does not take the group", () => answer(VFIO_GROUP_SET_CONTAINER, EINVAL)],
		["no-vfio", "there is no container node", () => fake.kernel.nodes.delete("/dev/vfio/vfio")],
		["no-permission", "the container node is root's", () => node("/dev/vfio/vfio", EACCES)],
		["kernel", "the container does not open", () => node("/dev/vfio/vfio", EIO)],
		["no-vfio", "the API is another one", () => fake.answers.set(VFIO_GET_API_VERSION, () => 1)],
		["kernel", "the container does not answer", () => answer(VFIO_CHECK_EXTENSION, EIO)],
		["unsupported-iommu", "interrupts are not isolated", () => answer(VFIO_SET_IOMMU, EPERM)],
		["unsupported-iommu", "no back-end takes the type", () => answer(VFIO_SET_IOMMU, ENODEV)],
		["no-permission", "a virtual function lacks its token", () => answer(VFIO_GROUP_GET_DEVICE_FD, EACCES)],
		["not-bound", "the device is another driver's", () => answer(VFIO_GROUP_GET_DEVICE_FD, ENODEV)],
		["device-in-use", "a reset holds its lock for ever", () => answer(VFIO_GROUP_GET_DEVICE_FD, EAGAIN)],
		["kernel", "enabling it fails", () => answer(VFIO_GROUP_GET_DEVICE_FD, EIO)],
		["kernel", "it does not tell about itself", () => answer(VFIO_DEVICE_GET_INFO, EIO)],
		["unassignable-device", "it is no PCI device", () => Object.assign(fake.deviceInfo, { flags: 4 })],
		["unassignable-device", "it has too few regions", () => Object.assign(fake.deviceInfo, { regions: 7 })],
		["unassignable-device", "it has too few interrupts", () => Object.assign(fake.deviceInfo, { irqs: 2 })],
	];
	it.each(refusals)("throws %s when %s, and leaves nothing open", (code, _when, arrange, address = ADDRESS) => {
		arrange();
		const error = vfioError(() => VfioDevice.open(fake.kernel, address));
		expect(error.code).toBe(code);
		expect(error.message).toMatch(/^Cannot /);
		expect(fake.leaks).toEqual([]);
		expect(Group.find(fake.kernel, 12)).toBeUndefined();
	});

	it("says how to get permission for the group's node", () => {
		fake.kernel.nodes.set("/dev/vfio/12", () => fake.kernel.fail(EACCES, "open", "/dev/vfio/12"));
		expect(refusal().remedy[0]).toBe('sudo chown "$USER" /dev/vfio/12');
	});

	it("says which driver has the device, and how to bind it", () => {
		fake = new FakeVfio([{ name: ADDRESS, group: 12, driver: "nvme" }]);
		fake.kernel.nodes.delete("/dev/vfio/12");
		const error = refusal();
		expect(error.message).toBe(`Cannot open ${ADDRESS}: it is not bound to vfio-pci, its driver is nvme`);
		expect(error.remedy).toHaveLength(3);
	});

	it("says that a bridge cannot be assigned", () => {
		fake = new FakeVfio([{ name: ADDRESS, group: 12, driver: "pcieport", bridge: true }]);
		expect(refusal().code).toBe("unassignable-device");
	});

	it("says that vfio-pci is not loaded", () => {
		fake = new FakeVfio([{ name: ADDRESS, group: 12, driver: "nvme" }]);
		fake.kernel.nodes.delete("/dev/vfio/12");
		for (const file of ["bind", "unbind", "new_id", "remove_id"])
			fake.kernel.files.delete(`/sys/bus/pci/drivers/vfio-pci/${file}`);
		expect(refusal().code).toBe("no-vfio");
	});

	it("releases everything whichever call fails", () => {
		for (let n = 1; ; n++) {
			fake = new FakeVfio();
			const kernel = new FailingKernel(fake.kernel, n, EIO);
			try {
				VfioDevice.open(kernel, ADDRESS)[Symbol.dispose]();
			} catch {
				// Which error it is depends on the call.
			}
			expect([kernel.failed, fake.leaks]).toEqual([kernel.failed, []]);
			if (!kernel.failed) break;
			expect(n).toBeLessThan(100);
		}
	});
});

describe("sharing", () => {
	const CARD = [
		{ name: "0000:05:00.0", group: 12, driver: "vfio-pci" },
		{ name: "0000:05:00.1", group: 12, driver: "vfio-pci" },
		{ name: "0000:06:00.0", group: 13, driver: "vfio-pci" },
	];
	beforeEach(() => {
		fake = new FakeVfio(CARD);
	});
	const at = (address: string, options = {}) => VfioDevice.open(fake.kernel, address, options);

	it("L-06 a second device of a group shares its file, which Linux gives out once, and its container", () => {
		const first = at("05:00.0");
		const second = at("05:00.1");
		expect(second.group).toBe(first.group);
		expect(second.container).toBe(first.container);
		first[Symbol.dispose]();
		expect(fake.leaks).toEqual(["/dev/vfio/12", "/dev/vfio/vfio", "0000:05:00.1"]);
		second[Symbol.dispose]();
		expect(fake.leaks).toEqual([]);
	});
	it("refuses a device that is attached already, and leaves the first one alone", () => {
		const first = at("05:00.0");
		expect(vfioError(() => at("05:00.0")).code).toBe("already-attached");
		expect(first.readRegion(7, 0, 2)).toBe(0);
		first[Symbol.dispose]();
		expect(fake.leaks).toEqual([]);
		at("05:00.0")[Symbol.dispose]();
	});
	it("refuses a device whose group is in another container", () => {
		at("05:00.0");
		const container = Container.open(fake.kernel);
		expect(vfioError(() => at("05:00.1", { container })).code).toBe("device-in-use");
	});
	const orders = [
		["container", "a", "b"],
		["a", "container", "b"],
		["a", "b", "container"],
		["b", "a", "container"],
		["container", "b", "a"],
		["b", "container", "a"],
	];
	it.each(orders)("closes everything in the order %s, %s, %s", (...order) => {
		const container = Container.open(fake.kernel);
		const things: Record<string, Disposable> = {
			container,
			a: at("05:00.0", { container }),
			b: at("06:00.0", { container }),
		};
		expect(container.groups.size).toBe(2);
		for (const name of order) {
			things[name]?.[Symbol.dispose]();
			things[name]?.[Symbol.dispose]();
		}
		expect(fake.leaks).toEqual([]);
		expect(fake.kernel.log.filter((line) => line === "open /dev/vfio/vfio")).toHaveLength(1);
	});
	it("a container without groups has no IOMMU, and gets a new one with the next group", () => {
		const container = Container.open(fake.kernel);
		expect(vfioError(() => container.iommu).code).toBe("disposed");
		at("05:00.0", { container })[Symbol.dispose]();
		expect(vfioError(() => container.iommu).code).toBe("disposed");
		at("06:00.0", { container });
		expect(container.iommu).toMatchObject({ backend: "type1", version: 2 });
	});
	it("a closed container takes no device", () => {
		const container = Container.open(fake.kernel);
		container[Symbol.dispose]();
		expect(vfioError(() => at("05:00.0", { container })).code).toBe("disposed");
		expect(fake.leaks).toEqual([]);
	});
	it("F-06 coherent asks for VFIO_DMA_CC_IOMMU", () => {
		const device = at("05:00.0");
		expect([device.coherent, device.container?.coherent]).toEqual([false, false]);
		fake.extensions.add(4);
		expect([device.coherent, device.container?.coherent]).toEqual([true, true]);
	});
});

describe("info", () => {
	it("asks the kernel once for each region and interrupt", () => {
		const device = open();
		device.region(0);
		const asked = fake.requests.length;
		expect(device.region(0)).toBe(device.region(0));
		expect(fake.requests.length).toBe(asked);
		expect(device.irq(2)).toBe(device.irq(2));
	});
	it("ERR-03 a missing VGA region is empty, and shifts no region behind it", () => {
		fake.regions.push({ size: 0x1000, flags: 3 });
		const device = open();
		expect([device.region(8).size, device.region(9).size]).toEqual([0, 0x1000]);
	});
	it("a BAR that the kernel refuses is an error, not an empty one", () => {
		fake.regions[2] = undefined;
		expect(vfioError(() => open().region(2))).toMatchObject({ code: "kernel", errno: EINVAL });
	});
	it("an interrupt that the kernel refuses has count 0", () => {
		const device = open();
		expect([0, 1, 2, 3, 4].map((index) => device.irq(index).count)).toEqual([1, 8, 16, 0, 1]);
		expect(device.irq(2)).toMatchObject({ resizable: true, maskable: false });
		expect(device.irq(1).resizable).toBe(false);
		expect(device.irq(0)).toMatchObject({ maskable: true, automasked: true });
	});
	it("reports a kernel that refuses for another reason", () => {
		const device = open();
		fake.answers.set(VFIO_DEVICE_GET_REGION_INFO, EIO);
		expect(vfioError(() => device.region(0))).toMatchObject({ code: "kernel", device: ADDRESS });
	});
	it("refuses a region beyond 2^53", () => {
		fake.regions[0] = { size: 2 ** 53 };
		expect(vfioError(() => open().region(0)).code).toBe("unassignable-device");
	});

	const chain = (...words: number[]) => new Uint8Array(Uint32Array.from(words).buffer);
	it("makes room for a capability chain, and reads all of it", () => {
		fake.regions[0] = {
			size: 0x4000,
			flags: 7,
			// MSIX_MAPPABLE at 32, SPARSE_MMAP at 40 with two areas, TYPE at 88
			chain: chain(0x10003, 40, 0x10001, 88, 2, 0, 0x2000, 0, 0x1000, 0, 0, 0, 0x1000, 0, 0x10002, 0, 0x80008086, 1),
		};
		expect(open().region(0)).toMatchObject({
			msixMappable: true,
			sparseAreas: [
				{ offset: 0, size: 0x1000 },
				{ offset: 0x2000, size: 0x1000 },
			],
			type: { type: 0x80008086, subtype: 1 },
		});
	});
	it("ends a chain that loops, or points outside", () => {
		fake.regions[0] = { size: 0x4000, flags: 7, chain: chain(0x10003, 32) };
		fake.regions[1] = { size: 0x4000, flags: 7, chain: chain(0x10003, 0x7fffffff) };
		const device = open();
		expect([device.region(0).msixMappable, device.region(1).msixMappable]).toEqual([true, true]);
	});
	it("leaves out sparse areas that lie outside the region or the answer", () => {
		fake.regions[0] = {
			size: 0x4000,
			flags: 7,
			chain: chain(0x10001, 0, 1000, 0, 0x4000, 0, 0x1000, 0, 0, 0, 0x800, 0),
		};
		expect(open().region(0).sparseAreas).toEqual([{ offset: 0, size: 0x800 }]);
	});
});
