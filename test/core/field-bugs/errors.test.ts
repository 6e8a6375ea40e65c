// Answers of a kernel that users of other programs took for something else: what ours says instead.
import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { KernelError } from "../../../core/errors.ts";
import { Iommufd } from "../../../core/iommu/iommufd.ts";
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import { EACCES, EBUSY, EINVAL, EMFILE, ENOMEM, ENOSPC, EPERM } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_SET_IRQS,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	VFIO_IOMMU_MAP_DMA,
	VFIO_SET_IOMMU,
} from "../../../core/uapi/vfio.ts";
import { assignDecoding, MSIX_ON, msixControl, program, TABLE } from "../support/assigned.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";
import { FakeDevice } from "../support/fake-vfio-device.ts";
import { configSpace } from "../support/pci-config.ts";

const ADDRESS = "0000:05:00.0";
const RESERVED = "/sys/kernel/iommu_groups/12/reserved_regions";
const MSI_WINDOW = "0x00000000fee00000 0x00000000feefffff msi\n";
const RMRR = "0x000000007a000000 0x000000007affffff direct\n";

let fake: FakeVfio;
beforeEach(() => {
	fake = new FakeVfio();
});
const open = () => VfioDevice.open(fake.kernel, ADDRESS);

describe("a device whose memory the firmware claims", () => {
	it.each([
		[VFIO_SET_IOMMU, EPERM],
		[VFIO_GROUP_SET_CONTAINER, EINVAL],
		[VFIO_GROUP_SET_CONTAINER, EPERM],
	])(
		"is not taken for one without interrupt remapping, or for another owner's (ioctl %i, errno %i)",
		(request, errno) => {
			fake.kernel.files.set(RESERVED, MSI_WINDOW + RMRR);
			fake.answers.set(request, errno);
			const error = vfioError(open);
			expect(error).toMatchObject({ code: "unsupported-iommu", device: ADDRESS, errno });
			expect(error.message).toContain(
				"the firmware itself wants a device of IOMMU group 12 to reach memory at 0x7a000000",
			);
			expect(error.remedy.join()).toContain("RMRR");
			expect(fake.leaks).toEqual([]);
		},
	);

	it("is no reason where the firmware claims nothing, or gives it up", () => {
		fake.kernel.files.set(RESERVED, MSI_WINDOW + RMRR.replace("direct", "direct-relaxable"));
		fake.answers.set(VFIO_SET_IOMMU, EPERM);
		expect(vfioError(open).message).toContain("does not isolate interrupts");
	});

	it("stays the reason when the group cannot be taken out of the container again", () => {
		fake.answers.set(VFIO_SET_IOMMU, EPERM);
		fake.answers.set(VFIO_GROUP_UNSET_CONTAINER, EBUSY);
		expect(vfioError(open)).toMatchObject({ code: "unsupported-iommu", errno: EPERM });
		expect(fake.leaks).toEqual([]);
	});
});

describe("a node that does not open", () => {
	const refuse = (path: string, errno: number) =>
		fake.kernel.nodes.set(path, () => fake.kernel.fail(errno, "open", path));

	it.each(["/dev/vfio/12", "/dev/vfio/vfio"])("%s: tells the control group's refusal from the node's modes", (path) => {
		refuse(path, EPERM);
		const forbidden = vfioError(open);
		expect(forbidden.code).toBe("no-permission");
		expect(forbidden.message).toContain("control group");
		expect(forbidden.remedy.join("\n")).toContain(`--device ${path}`);
		expect(forbidden.remedy.join("\n")).not.toMatch(/chown|chmod/);
		refuse(path, EACCES);
		expect(vfioError(open).remedy[0]).toMatch(/chown|chmod/);
	});

	it("/dev/iommu: the same", () => {
		refuse("/dev/iommu", EPERM);
		expect(vfioError(() => Iommufd.open(fake.kernel)).message).toContain("control group");
		refuse("/dev/iommu", EACCES);
		expect(vfioError(() => Iommufd.open(fake.kernel)).remedy[0]).toContain("chown");
	});

	it("looks for the owner among the character devices as well", () => {
		refuse("/dev/vfio/12", EBUSY);
		expect(vfioError(open).remedy[0]).toContain("/dev/vfio/12 /dev/vfio/devices/*");
	});
});

describe("interrupts that the host cannot give", () => {
	const intx = () => open().setEventfds(0, 0, [5]);

	it("INTx on a line of another device: says that it cannot be shared, and what to do", () => {
		fake.answers.set(VFIO_DEVICE_SET_IRQS, EBUSY);
		const error = vfioError(intx);
		expect(error.message).toContain("another device uses its interrupt line, which it cannot share");
		expect(error.remedy.join("\n")).toMatch(/\/proc\/interrupts[\s\S]*intx=off/);
	});

	it("vectors: says that the host has none left, not that a disk is full", () => {
		fake.answers.set(VFIO_DEVICE_SET_IRQS, ENOSPC);
		const error = vfioError(() => open().setEventfds(2, 0, [5]));
		expect(error.message).toContain("Cannot set up MSI-X of 0000:05:00.0: the host has no interrupt vectors left");
	});

	it("files: fails the attach with the limit's name and the way to raise it", () => {
		const device = new FakeDevice({ config: configSpace() });
		device.fake.eventfd = () => {
			throw new KernelError(EMFILE, "eventfd", "");
		};
		const error = vfioError(() => AssignedFunction.attach(device));
		expect(error).toMatchObject({ code: "interrupt-failed", device: ADDRESS, errno: EMFILE });
		expect(error.message).toContain("RLIMIT_NOFILE");
		expect(error.remedy[0]).toContain("ulimit -n");
		expect(device.held).toBe(0);
	});

	it("files: of many vectors, those that got one work, and another gets one when it is unmasked again", () => {
		const { device, fn, slot, reports } = assignDecoding();
		for (let vector = 0; vector < 8; vector++) program(fn, vector);
		device.fake.failAfter = 6;
		msixControl(fn, MSIX_ON);
		for (let vector = 0; vector < 8; vector++) device.message(2, vector);
		device.fake.settle();
		expect([slot.messages.length, reports.length]).toEqual([3, 5]);
		device.fake.failAfter = Number.POSITIVE_INFINITY;
		for (const masked of [1, 0]) fn.barWrite(0, TABLE + 16 * 7 + 12, 4, masked);
		device.message(2, 7);
		device.fake.settle();
		expect(slot.messages.at(-1)).toBe("fee00070=47");
		fn[Symbol.dispose]();
		expect(device.held).toBe(0);
	});
});

describe("memory that cannot be pinned", () => {
	const limits = (soft: string) =>
		fake.kernel.files.set("/proc/self/limits", `Max locked memory         ${soft}  ${soft}  bytes\n`);

	it("for want of memory is not put down to a limit where there is none", () => {
		limits("unlimited");
		fake.kernel.files.set("/proc/self/status", "VmLck:\t0 kB\nCapEff:\t0\n");
		const { iommu } = open();
		fake.answers.set(VFIO_IOMMU_MAP_DMA, ENOMEM);
		const error = vfioError(() => iommu.map(0n, 0x7000_0000n, 0x1000n));
		expect(error).toMatchObject({ code: "mapping-failed", errno: ENOMEM });
		expect(error.message).toContain("the kernel has no memory for it");
		limits("4096");
		expect(vfioError(() => iommu.map(0n, 0x7000_0000n, 0x2000n)).code).toBe("memlock-too-low");
	});
});
