// Which pages a device wrote, as an IOMMU says it that records them in its page tables.
import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Ioas } from "../../core/iommu/ioas.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import {
	IOMMU_GET_HW_INFO,
	IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	IOMMU_HWPT_SET_DIRTY_TRACKING,
} from "../../core/uapi/iommufd.ts";
import { Host, type SimProcess, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { vfioError } from "../core/support/error.ts";
import { withCalls } from "../core/support/with-calls.ts";

const EDU = "0000:01:00.0";
const NVME = "0000:05:00.0";
const PAGE = 4096;

let clock: VirtualClock;
let linux: SimulatedLinux;
let kernel: SimProcess;
let iommufd: Iommufd;
let ioas: Ioas;
let edu: VfioDevice;
beforeEach(() => {
	clock = new VirtualClock();
	linux = new SimulatedLinux({ host: Host.reference(), clock, dirtyTracking: true });
	kernel = linux.process();
	for (const address of [EDU, NVME]) bindGroup(kernel, address);
	iommufd = Iommufd.open(kernel);
	ioas = Ioas.allocate(iommufd);
	edu = VfioDevice.open(kernel, EDU, { ioas });
	edu.writeRegion(7, 4, 2, 6);
});
function close(...things: Disposable[]): void {
	for (const thing of [...things, edu, ioas, iommufd]) thing[Symbol.dispose]();
	clock.settle();
	expect(Object.entries(linux.leaks()).filter(([, count]) => count !== 0)).toEqual([]);
}
/** edu writes a page. */
function write(iova: bigint): void {
	edu.writeRegion64(0, 0x80, 0x40000n);
	edu.writeRegion64(0, 0x88, iova);
	edu.writeRegion64(0, 0x90, BigInt(PAGE));
	edu.writeRegion64(0, 0x98, 3n);
	clock.advance(1e9);
}
const bits = (bitmap: Uint8Array) =>
	[...bitmap].flatMap((byte, n) =>
		[0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => byte & (1 << bit)).map((bit) => n * 8 + bit),
	);

describe("dirty tracking of an address space of iommufd", () => {
	it("says which pages were written since it was asked last, and no others", () => {
		const memory = kernel.allocate(100 * PAGE);
		ioas.map(0n, memory.address, BigInt(100 * PAGE));
		expect(ioas.info().dirtyTracking).toMatchObject({ pageSizes: 4096n });
		expect(vfioError(() => ioas.dirty.bitmap(0n, BigInt(PAGE))).code).toBe("invalid-argument");
		write(0n);
		ioas.dirty.start();
		write(BigInt(3 * PAGE));
		write(BigInt(70 * PAGE));
		expect(bits(ioas.dirty.bitmap(0n, BigInt(100 * PAGE)))).toEqual([3, 70]);
		expect(bits(ioas.dirty.bitmap(0n, BigInt(100 * PAGE)))).toEqual([]);
		write(BigInt(5 * PAGE));
		expect(bits(ioas.dirty.unmap(0n, BigInt(100 * PAGE)))).toEqual([5]);
		expect(ioas.mappingCount).toBe(0);
		ioas.dirty.stop();
		expect(vfioError(() => ioas.dirty.bitmap(0n, 1n << 60n)).code).toBe("invalid-argument");
		close(memory);
	});

	it("sees what is behind a hole, where the kernel stops without saying so", () => {
		const memory = kernel.allocate(100 * PAGE);
		const map = (page: number, count: number) =>
			ioas.map(BigInt(page * PAGE), memory.address + BigInt(page * PAGE), BigInt(count * PAGE));
		map(1, 3);
		map(4, 2);
		map(70, 5);
		ioas.dirty.start();
		for (const page of [1, 5, 71]) write(BigInt(page * PAGE));
		expect(bits(ioas.dirty.bitmap(0n, BigInt(100 * PAGE)))).toEqual([1, 5, 71]);
		close(memory);
	});

	it("that cannot be started is not started", () => {
		const refusing = withCalls(kernel, {
			ioctl: (fd, request, argument) =>
				kernel.ioctl(fd, request === IOMMU_HWPT_SET_DIRTY_TRACKING ? 0xdead : request, argument),
		});
		const other = Iommufd.open(refusing);
		const nvme = VfioDevice.open(refusing, NVME, { iommufd: other });
		expect(vfioError(() => nvme.iommu.dirty.start()).message).toContain("Cannot start tracking dirty pages");
		expect(vfioError(() => nvme.iommu.dirty.bitmap(0n, 4096n)).message).toContain("was not started");
		close(nvme, other);
	});

	it("is stopped in every page table, also when a device has come that records nothing, or one does not stop", () => {
		let recording = true;
		let stopping = true;
		const forgetful = withCalls(kernel, {
			ioctl: (fd, request, argument) => {
				const on = argument instanceof Uint8Array && argument[4] === IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
				const refused =
					(request === IOMMU_GET_HW_INFO && !recording) ||
					(request === IOMMU_HWPT_SET_DIRTY_TRACKING && !on && !stopping);
				return kernel.ioctl(fd, refused ? 0xdead : request, argument);
			},
		});
		const other = Iommufd.open(forgetful);
		const own = Ioas.allocate(other);
		const nvme = VfioDevice.open(forgetful, NVME, { ioas: own });
		own.dirty.start();
		recording = false;
		edu[Symbol.dispose]();
		const late = VfioDevice.open(forgetful, EDU, { ioas: own });
		expect(vfioError(() => own.dirty.start()).code).toBe("unsupported-iommu");
		stopping = false;
		expect(vfioError(() => own.dirty.stop()).message).toContain("Cannot stop tracking dirty pages");
		stopping = true;
		own.dirty.stop();
		late[Symbol.dispose]();
		expect(vfioError(() => own.dirty.bitmap(0n, 4096n)).message).toContain("was not started");
		close(nvme, own, other);
	});

	it("has devices share a page table that records, and one that comes later records as well", () => {
		const memory = kernel.allocate(4 * PAGE);
		ioas.map(0n, memory.address, BigInt(4 * PAGE));
		ioas.dirty.start();
		const nvme = VfioDevice.open(kernel, NVME, { ioas });
		expect(nvme.iommu).toBe(edu.iommu);
		write(0n);
		expect(bits(ioas.dirty.bitmap(0n, BigInt(4 * PAGE)))).toEqual([0]);
		// Two devices, an address space and one page table.
		expect(linux.leaks().iommufdObjects).toBe(4);
		nvme[Symbol.dispose]();
		close(memory);
	});
});
