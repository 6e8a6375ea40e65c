import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { KernelError } from "../../../core/errors.ts";
import { bindGroup } from "../../../core/host/bind.ts";
import type { Ioas } from "../../../core/iommu/ioas.ts";
import { Iommufd } from "../../../core/iommu/iommufd.ts";
import type { Kernel } from "../../../core/kernel.ts";
import { EBADF, EINVAL, EIO, ENODEV, ENOTTY, EOPNOTSUPP, EOVERFLOW } from "../../../core/uapi/errno.ts";
import { IOMMU_IOAS_MAP_FILE } from "../../../core/uapi/iommufd.ts";
import { VFIO_DEVICE_FEATURE } from "../../../core/uapi/vfio.ts";
import { Host, type SimProcess, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { vfioError } from "../support/error.ts";
import { withCalls } from "../support/with-calls.ts";

const NVME = "0000:05:00.0";
const BAR = 0xe000_0000n;

let linux: SimulatedLinux;
let process: SimProcess;
let kernel: Kernel;
/** What the request of this number fails with. */
let fails: readonly [request: number, errno: number] | undefined;
let device: VfioDevice;
let ioas: Ioas;

function boot(version: "6.12" | "7.2"): void {
	fails = undefined;
	linux = new SimulatedLinux({ host: Host.reference(), version });
	process = linux.process();
	bindGroup(process, NVME);
	kernel = withCalls(process, {
		ioctl: (fd, request, argument) => {
			if (request === fails?.[0]) throw new KernelError(fails[1], "ioctl", "");
			return process.ioctl(fd, request, argument);
		},
	});
	const iommufd = Iommufd.open(kernel);
	device = VfioDevice.open(kernel, NVME, { iommufd });
	iommufd[Symbol.dispose]();
	ioas = device.iommu as Ioas;
	decode(true);
}
const decode = (on: boolean) => device.writeRegion(7, 4, 2, on ? 6 : 4);

beforeEach(() => boot("7.2"));
afterEach(() => {
	device[Symbol.dispose]();
	expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
});

describe("VfioDevice.exportDmaBuf()", () => {
	it("exports a part of a BAR, to its end when no length is given, and closes the file once", () => {
		const part = device.exportDmaBuf(0, 0x1000, 0x1000);
		const rest = device.exportDmaBuf(0, 0x1000);
		expect([part.length, rest.length]).toEqual([0x1000, device.region(0).size - 0x1000]);
		expect(process.openFiles.get(part.fd)?.path).toBe("anon_inode:dmabuf");
		part[Symbol.dispose]();
		const other = device.exportDmaBuf(0);
		// The descriptor's number belongs to the other by now.
		part[Symbol.dispose]();
		expect(process.openFiles.has(other.fd)).toBe(true);
		for (const buffer of [rest, other]) buffer[Symbol.dispose]();
	});

	it.each([
		["config space", 7, 0, 0x1000, "it is not a BAR"],
		["the ROM", 6, 0, 0x1000, "it is not a BAR"],
		["a BAR that the device does not have", 3, 0, 0x1000, "are not whole pages within its 0 bytes"],
		["half a page", 0, 0, 0x800, "2048 bytes at 0 are not whole pages within its 16384 bytes"],
		["from the middle of a page", 0, 0x800, 0x1000, "are not whole pages"],
		["nothing", 0, 0, 0, "are not whole pages"],
		["more than there is", 0, 0x3000, 0x2000, "are not whole pages within"],
	])("refuses %s before the kernel is asked", (_what, index, offset, length, reason) => {
		fails = [VFIO_DEVICE_FEATURE, EIO];
		const error = vfioError(() => device.exportDmaBuf(index, offset, length));
		expect([error.code, error.device, error.errno]).toEqual(["invalid-argument", NVME, undefined]);
		expect(error.message).toContain(reason);
	});

	it.each([
		["no-dma-buf", ENOTTY],
		["no-dma-buf", EOPNOTSUPP],
		["mapping-failed", ENODEV],
		["kernel", EIO],
	] as const)("is a %s error when the kernel answers %s", (code, errno) => {
		fails = [VFIO_DEVICE_FEATURE, errno];
		const error = vfioError(() => device.exportDmaBuf(0));
		expect([error.code, error.errno, error.device]).toEqual([code, errno, NVME]);
		expect(error.message).toMatch(/^Cannot export BAR 0 of 0000:05:00\.0 as a dma-buf: /);
	});

	it("says which Linux has it when this one does not, and that a closed device has nothing", () => {
		device[Symbol.dispose]();
		expect(vfioError(() => device.exportDmaBuf(0)).code).toBe("disposed");
		boot("6.12");
		const error = vfioError(() => device.exportDmaBuf(0));
		expect([error.code, error.errno]).toEqual(["no-dma-buf", ENOTTY]);
		expect(error.remedy).toEqual(["Linux exports BARs since 6.19, with CONFIG_VFIO_PCI_DMABUF."]);
	});
});

describe("Ioas.mapDmaBuf()", () => {
	it("maps it whole, with no address of this process, beyond the closing of its file", () => {
		const buffer = device.exportDmaBuf(0, 0, 0x2000);
		const mapping = ioas.mapDmaBuf(BAR, buffer);
		buffer[Symbol.dispose]();
		expect([mapping.start, mapping.size, mapping.vaddr]).toEqual([BAR, 0x2000n, undefined]);
		expect(linux.leaks().dmaMappings).toBe(1);
		mapping[Symbol.dispose]();
		expect([linux.leaks().dmaMappings, ioas.mappingCount]).toEqual([0, 0]);
	});

	it("replaces what it covers, and cuts nothing", () => {
		const [one, two] = [device.exportDmaBuf(0, 0, 0x1000), device.exportDmaBuf(0, 0, 0x2000)];
		ioas.mapDmaBuf(BAR, one);
		ioas.mapDmaBuf(BAR, two);
		expect([...ioas.mappings].map(({ size }) => size)).toEqual([0x2000n]);
		expect(vfioError(() => ioas.mapDmaBuf(BAR, one)).code).toBe("overlapping-memory");
		for (const buffer of [one, two]) buffer[Symbol.dispose]();
	});

	it.each([
		["it is revoked", () => decode(false), BAR, "mapping-failed", ENODEV, "does not decode memory at present"],
		["the IOVA is not aligned", () => {}, BAR + 1n, "mapping-failed", EINVAL, "whole number of pages of 4096 bytes"],
		["the host keeps the IOVA", () => {}, 0xfee0_0000n, "iova-out-of-range", EINVAL, "the IOMMU maps"],
	] as const)("says what is wrong when %s", (_why, prepare, iova, code, errno, reason) => {
		const buffer = device.exportDmaBuf(0, 0, 0x1000);
		prepare();
		const error = vfioError(() => ioas.mapDmaBuf(iova, buffer));
		expect([error.code, error.errno, ioas.mappingCount]).toEqual([code, errno, 0]);
		expect(error.message).toContain(reason);
		buffer[Symbol.dispose]();
	});

	it.each([
		["no-dma-buf", ENOTTY],
		["no-dma-buf", EINVAL],
		["no-dma-buf", EOPNOTSUPP],
		["mapping-failed", EBADF],
		["mapping-failed", EOVERFLOW],
	] as const)("is a %s error when the kernel answers %s", (code, errno) => {
		const buffer = device.exportDmaBuf(0, 0, 0x1000);
		fails = [IOMMU_IOAS_MAP_FILE, errno];
		const error = vfioError(() => ioas.mapDmaBuf(BAR, buffer));
		expect([error.code, error.errno]).toEqual([code, errno]);
		buffer[Symbol.dispose]();
	});
});
