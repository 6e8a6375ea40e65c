import { describe, expect, it } from "vitest";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import * as uapi from "../../../core/uapi/iommufd.ts";
import {
	VFIO_DEVICE_FEATURE,
	VFIO_DEVICE_FEATURE_DMA_BUF,
	VFIO_DEVICE_FEATURE_GET,
	VFIO_DEVICE_RESET,
} from "../../../core/uapi/vfio.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";
import { bind, boot, driverFile, EDU, NVME, outcome, text } from "../linux/support.ts";
import {
	attachPt,
	bindIommufd,
	CONFIG,
	cdevName,
	destroy,
	detachPt,
	FIXED,
	ioasAlloc,
	ioasMap,
	ioasUnmap,
	iovaRanges,
	NOTHING,
	openCdev,
	openIommu,
	RW,
	request,
} from "./support.ts";

/** A device that is attached to an address space. */
function attached(options: Parameters<typeof boot>[0] = {}, address = EDU) {
	const linux = boot(options);
	const kernel = linux.process();
	const cdev = openCdev(kernel, address);
	const iommu = openIommu(kernel);
	const id = bindIommufd(kernel, cdev, iommu);
	const ioas = ioasAlloc(kernel, iommu);
	const hwpt = attachPt(kernel, cdev, ioas);
	const fn = linux.pci.devices.get(address)?.fn;
	if (!fn) throw new Error(`no ${address}`);
	return { linux, kernel, cdev, iommu, id, ioas, hwpt, fn };
}

const pinnedKilobytes = (kernel: SimProcess) =>
	Number(/VmPin:\s+(\d+) kB/.exec(text(kernel, "/proc/self/status"))?.[1]);

describe("memory of an address space", () => {
	it("is charged to the user, in all of their processes together", () => {
		const linux = boot();
		const root = linux.process();
		bind(root, EDU);
		const path = `/dev/vfio/devices/${cdevName(root, EDU)}`;
		for (const node of [path, "/dev/iommu"]) linux.chown(node, 1000);
		const user = linux.process({ uid: 1000, memlock: 8 * 4096 });
		const cdev = user.open(path, O_RDWR);
		const iommu = openIommu(user);
		bindIommufd(user, cdev, iommu);
		const ioas = ioasAlloc(user, iommu);
		const memory = user.allocate(16 * 4096);
		ioasMap(user, iommu, ioas, { user_va: memory.address, iova: 0n, length: 9n * 4096n });
		// Nothing is pinned before there is a page table.
		expect(outcome(() => attachPt(user, cdev, ioas))).toBe("ENOMEM");
		ioasUnmap(user, iommu, ioas, 0n, 9n * 4096n);
		attachPt(user, cdev, ioas);
		ioasMap(user, iommu, ioas, { user_va: memory.address, iova: 0n, length: 8n * 4096n });
		const child = user.fork();
		const over = { user_va: memory.address, iova: 0x100000n };
		expect(outcome(() => ioasMap(child, iommu, ioas, over))).toBe("ENOMEM");
		expect(pinnedKilobytes(user)).toBe(32);
		expect(user.lockedPages).toBe(0);
		ioasUnmap(user, iommu, ioas, 0n, 8n * 4096n);
		expect(pinnedKilobytes(user)).toBe(0);
		ioasMap(child, iommu, ioas, over);
	});

	it("is charged to the process when RLIMIT_MODE says so", () => {
		const linux = boot();
		const root = linux.process();
		bind(root, EDU);
		const path = `/dev/vfio/devices/${cdevName(root, EDU)}`;
		for (const node of [path, "/dev/iommu"]) linux.chown(node, 1000);
		const user = linux.process({ uid: 1000, memlock: 4 * 4096, capabilities: ["CAP_SYS_RESOURCE"] });
		const cdev = user.open(path, O_RDWR);
		const iommu = openIommu(user);
		request(user, iommu, uapi.IOMMU_OPTION, uapi.iommu_option, { op: uapi.IOMMU_OPTION_OP_SET, val64: 1n });
		bindIommufd(user, cdev, iommu);
		const ioas = ioasAlloc(user, iommu);
		attachPt(user, cdev, ioas);
		const memory = user.allocate(8 * 4096);
		expect(outcome(() => ioasMap(user, iommu, ioas, { user_va: memory.address, length: 5n * 4096n }))).toBe("ENOMEM");
		ioasMap(user, iommu, ioas, { user_va: memory.address, length: 4n * 4096n });
		expect(user.lockedPages).toBe(4);
		user.exit();
		expect(linux.leaks()).toMatchObject({ dmaMappings: 0, pinnedPages: 0, iommufdObjects: 0 });
	});

	it("of a process that is gone is not there, unless it is pinned already", () => {
		const { linux, kernel, cdev, iommu, ioas } = attached();
		const child = kernel.fork();
		const memory = child.allocate(4096);
		ioasMap(child, iommu, ioas, { user_va: memory.address, iova: 0n });
		const second = ioasAlloc(child, iommu);
		ioasMap(child, iommu, second, { user_va: memory.address, iova: 0n });
		child.exit();
		expect(linux.leaks().pinnedPages).toBe(1);
		expect(outcome(() => attachPt(kernel, cdev, second))).toBe("EFAULT");
		// The device has kept what it had.
		expect(outcome(() => destroy(kernel, iommu, ioas))).toBe("EBUSY");
	});

	it("is pinned once, however often it is copied, until the last copy goes", () => {
		const { linux, kernel, iommu, ioas, cdev } = attached();
		using memory = kernel.allocate(4 * 4096);
		ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0n, length: 4n * 4096n });
		const copy = { flags: FIXED | RW, src_ioas_id: ioas, dst_ioas_id: ioas, length: 8192n, src_iova: 4096n };
		request(kernel, iommu, uapi.IOMMU_IOAS_COPY, uapi.iommu_ioas_copy, { ...copy, dst_iova: 0x10000n });
		expect(linux.leaks()).toMatchObject({ dmaMappings: 2, pinnedPages: 4 });
		ioasUnmap(kernel, iommu, ioas, 0n, 4n * 4096n);
		expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 2 });
		detachPt(kernel, cdev);
		expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 0 });
	});
});

describe("IOAS_MAP at a free place", () => {
	it("keeps clear of what is mapped, reserved and not allowed", () => {
		const { kernel, iommu, ioas } = attached();
		const memory = kernel.allocate(4096);
		const list = kernel.allocate(4096);
		const spans = new BigUint64Array(list.bytes.buffer, 0, 2);
		spans.set([0xfedff000n, 0xfef00fffn]);
		const allowed = { ioas_id: ioas, num_iovas: 1, allowed_iovas: list.address };
		// The message window lies in it.
		expect(
			outcome(() => request(kernel, iommu, uapi.IOMMU_IOAS_ALLOW_IOVAS, uapi.iommu_ioas_allow_iovas, allowed)),
		).toBe("EADDRINUSE");
		spans.set([0x7000n, 0x8fffn]);
		request(kernel, iommu, uapi.IOMMU_IOAS_ALLOW_IOVAS, uapi.iommu_ioas_allow_iovas, allowed);
		expect(ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0x7000n })).toBe(0x7000n);
		expect(ioasMap(kernel, iommu, ioas, { user_va: memory.address })).toBe(0x8000n);
		expect(outcome(() => ioasMap(kernel, iommu, ioas, { user_va: memory.address }))).toBe("ENOSPC");
	});
});

describe("dirty tracking", () => {
	/** IOMMU_HWPT_GET_DIRTY_BITMAP of eight pages. */
	function dirty(kernel: SimProcess, iommu: number, hwpt_id: number, flags = 0): number {
		using bitmap = kernel.allocate(4096);
		const range = { iova: 0n, length: 8n * 4096n, page_size: 4096n, data: bitmap.address };
		request(kernel, iommu, uapi.IOMMU_HWPT_GET_DIRTY_BITMAP, uapi.iommu_hwpt_get_dirty_bitmap, {
			hwpt_id,
			flags,
			...range,
		});
		return bitmap.bytes[0] ?? 0;
	}

	it("tells the pages that the device has written, and forgets them", () => {
		const { linux, kernel, cdev, iommu, id, ioas, fn } = attached({ dirtyTracking: true });
		const { out_hwpt_id: hwpt } = request(kernel, iommu, uapi.IOMMU_HWPT_ALLOC, uapi.iommu_hwpt_alloc, {
			flags: uapi.IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
			dev_id: id,
			pt_id: ioas,
		});
		using memory = kernel.allocate(8 * 4096);
		ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0n, length: 8n * 4096n });
		attachPt(kernel, cdev, hwpt);
		const write = (address: bigint) => linux.machine.iommu.write(fn, address, new Uint8Array(8));
		const set = (flags: number) =>
			request(kernel, iommu, uapi.IOMMU_HWPT_SET_DIRTY_TRACKING, uapi.iommu_hwpt_set_dirty_tracking, {
				hwpt_id: hwpt,
				flags,
			});
		write(0n);
		set(uapi.IOMMU_HWPT_DIRTY_TRACKING_ENABLE);
		expect(dirty(kernel, iommu, hwpt)).toBe(0);
		write(0x1ffcn);
		write(0x7000n);
		linux.machine.iommu.read(fn, 0x4000n, new Uint8Array(8));
		expect(dirty(kernel, iommu, hwpt, uapi.IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR)).toBe(0b10000110);
		expect(dirty(kernel, iommu, hwpt)).toBe(0b10000110);
		expect(dirty(kernel, iommu, hwpt)).toBe(0);
		write(0x3000n);
		ioasUnmap(kernel, iommu, ioas, 0n, 8n * 4096n);
		// Nothing is mapped: there is nothing to tell, and no error.
		expect(dirty(kernel, iommu, hwpt)).toBe(0);
		ioasMap(kernel, iommu, ioas, { user_va: memory.address, iova: 0n, length: 8n * 4096n });
		expect(dirty(kernel, iommu, hwpt)).toBe(0);
		set(0);
		write(0n);
		expect(dirty(kernel, iommu, hwpt)).toBe(0);
	});

	it("has no dirty pages in no range at all", () => {
		const { kernel, iommu, id, ioas } = attached({ dirtyTracking: true });
		const alloc = { flags: uapi.IOMMU_HWPT_ALLOC_DIRTY_TRACKING, dev_id: id, pt_id: ioas };
		const hwpt_id = request(kernel, iommu, uapi.IOMMU_HWPT_ALLOC, uapi.iommu_hwpt_alloc, alloc).out_hwpt_id;
		const ask = (iova: bigint) => () =>
			request(kernel, iommu, uapi.IOMMU_HWPT_GET_DIRTY_BITMAP, uapi.iommu_hwpt_get_dirty_bitmap, {
				hwpt_id,
				iova,
				page_size: 4096n,
			});
		expect(outcome(ask(4096n))).toBe("EOVERFLOW");
		expect(outcome(ask(0n))).not.toBe("EOVERFLOW");
	});

	it("is no reason to believe how long a buffer for GET_HW_INFO is", () => {
		const { kernel, iommu, id } = attached();
		const memory = kernel.allocate(8192);
		memory.bytes.fill(0xff);
		const ask = (data_len: number) => () =>
			request(kernel, iommu, uapi.IOMMU_GET_HW_INFO, uapi.iommu_hw_info, {
				dev_id: id,
				data_len,
				data_uptr: memory.address,
			}).data_len;
		expect(outcome(ask(0xffff_ffff))).toBe("EFAULT");
		memory.bytes.fill(0xff);
		expect(outcome(ask(5000))).toBe(24);
		expect([memory.bytes[24], memory.bytes[4999], memory.bytes[5000]]).toEqual([0, 0, 0xff]);
	});

	it("is a capability that GET_HW_INFO tells of", () => {
		for (const dirtyTracking of [true, false]) {
			const { kernel, iommu, id } = attached({ dirtyTracking });
			const info = request(kernel, iommu, uapi.IOMMU_GET_HW_INFO, uapi.iommu_hw_info, { dev_id: id });
			expect(info.out_capabilities & BigInt(uapi.IOMMU_HW_CAP_DIRTY_TRACKING)).toBe(dirtyTracking ? 1n : 0n);
		}
	});
});

describe("IOAS_MAP_FILE", () => {
	/** Exports the first pages of a BAR of the nvme. @returns the descriptor */
	function exported(kernel: SimProcess, device: number, ranges: readonly (readonly [bigint, bigint])[]): number {
		const bytes = new Uint8Array(24 + 16 * ranges.length);
		const view = new DataView(bytes.buffer);
		view.setUint32(0, bytes.length, true);
		view.setUint32(4, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF, true);
		view.setUint32(20, ranges.length, true);
		for (const [index, [offset, length]] of ranges.entries()) {
			view.setBigUint64(24 + 16 * index, offset, true);
			view.setBigUint64(32 + 16 * index, length, true);
		}
		return kernel.ioctl(device, VFIO_DEVICE_FEATURE, bytes);
	}

	function mapFile(kernel: SimProcess, iommu: number, ioas_id: number, fd: number, length = 4096n, start = 0n) {
		const fields = { flags: FIXED | RW, ioas_id, fd, start, length, iova: 0n };
		return request(kernel, iommu, uapi.IOMMU_IOAS_MAP_FILE, uapi.iommu_ioas_map_file, fields);
	}

	it("maps memory of a device for another one, while it is not taken away", () => {
		const { linux, kernel, cdev, iommu, ioas } = attached({ version: "7.2" }, NVME);
		kernel.pwrite(cdev, Uint8Array.of(6, 0), CONFIG + 4);
		const edu = openCdev(kernel, EDU);
		bindIommufd(kernel, edu, iommu);
		attachPt(kernel, edu, ioas);
		const fd = exported(kernel, cdev, [[0n, 4096n]]);
		mapFile(kernel, iommu, ioas, fd);
		expect(linux.leaks().pinnedPages).toBe(1);
		const fn = linux.pci.devices.get(EDU)?.fn;
		if (!fn) throw new Error("no edu");
		const version = new Uint8Array(4);
		expect(linux.machine.iommu.read(fn, 8n, version)).toBe(true);
		const direct = new Uint8Array(4);
		kernel.pread(cdev, direct, 8);
		expect(version).toEqual(direct);
		kernel.pwrite(cdev, Uint8Array.of(4, 0), CONFIG + 4);
		expect(linux.machine.iommu.read(fn, 8n, version)).toBe(false);
		expect(outcome(() => mapFile(kernel, iommu, ioas, fd))).toBe("ENODEV");
		// The file can be mapped again, but what was mapped stays dead.
		kernel.pwrite(cdev, Uint8Array.of(6, 0), CONFIG + 4);
		expect(linux.machine.iommu.read(fn, 8n, version)).toBe(false);
		ioasUnmap(kernel, iommu, ioas, 0n, 4096n);
		mapFile(kernel, iommu, ioas, fd);
		expect(linux.machine.iommu.read(fn, 8n, version)).toBe(true);
		// A reset ends it as well, although the device decodes its memory before and after.
		kernel.ioctl(cdev, VFIO_DEVICE_RESET);
		expect(linux.machine.iommu.read(fn, 8n, version)).toBe(false);
		kernel.close(fd);
		for (const open of [edu, cdev, iommu]) kernel.close(open);
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("refuses what is no single stretch, too short, or no such file", () => {
		const { kernel, cdev, iommu, ioas } = attached({ version: "7.2" }, NVME);
		kernel.pwrite(cdev, Uint8Array.of(6, 0), CONFIG + 4);
		const one = exported(kernel, cdev, [[0n, 4096n]]);
		const two = exported(kernel, cdev, [
			[0n, 4096n],
			[8192n, 4096n],
		]);
		expect(outcome(() => mapFile(kernel, iommu, ioas, one, 8192n))).toBe("EINVAL");
		expect(outcome(() => mapFile(kernel, iommu, ioas, one, 4096n, 4096n))).toBe("EINVAL");
		expect(outcome(() => mapFile(kernel, iommu, ioas, one, 0n))).toBe("EINVAL");
		expect(outcome(() => mapFile(kernel, iommu, ioas, one, 4096n, 2n ** 64n - 4096n))).toBe("EOVERFLOW");
		expect(outcome(() => mapFile(kernel, iommu, ioas, two))).toBe("EOPNOTSUPP");
		expect(outcome(() => mapFile(kernel, iommu, ioas, kernel.eventfd()))).toBe("EINVAL");
		expect(outcome(() => mapFile(kernel, iommu, ioas, 9999))).toBe("EBADF");
	});

	it("is no request of 6.12's", () => {
		const { kernel, iommu, ioas } = attached();
		expect(outcome(() => mapFile(kernel, iommu, ioas, 0))).toBe("ENOTTY");
	});
});

describe("what newer kernels have", () => {
	it.each([
		["VIOMMU_ALLOC", uapi.IOMMU_VIOMMU_ALLOC, uapi.iommu_viommu_alloc, { type: 1, dev_id: 1 }, "EOPNOTSUPP"],
		["VIOMMU_ALLOC", uapi.IOMMU_VIOMMU_ALLOC, uapi.iommu_viommu_alloc, { type: 1, dev_id: 77 }, "ENOENT"],
		["VIOMMU_ALLOC", uapi.IOMMU_VIOMMU_ALLOC, uapi.iommu_viommu_alloc, { dev_id: 1 }, "EOPNOTSUPP"],
		["VDEVICE_ALLOC", uapi.IOMMU_VDEVICE_ALLOC, uapi.iommu_vdevice_alloc, { viommu_id: 1, dev_id: 1 }, "ENOENT"],
		["VEVENTQ_ALLOC", uapi.IOMMU_VEVENTQ_ALLOC, uapi.iommu_veventq_alloc, { type: 1 }, "EINVAL"],
		["VEVENTQ_ALLOC", uapi.IOMMU_VEVENTQ_ALLOC, uapi.iommu_veventq_alloc, { type: 1, veventq_depth: 8 }, "ENOENT"],
		["HW_QUEUE_ALLOC", uapi.IOMMU_HW_QUEUE_ALLOC, uapi.iommu_hw_queue_alloc, { type: 1 }, "EINVAL"],
		["HW_QUEUE_ALLOC", uapi.IOMMU_HW_QUEUE_ALLOC, uapi.iommu_hw_queue_alloc, { type: 1, length: 1n }, "ENOENT"],
	] as const)("%s is answered as by VT-d's driver (%#)", (_, number, layout, fields, answer) => {
		const { kernel, iommu } = attached({ version: "7.2" });
		expect(outcome(() => request(kernel, iommu, number, layout as never, fields as never))).toBe(answer);
	});

	it("IOAS_CHANGE_PROCESS moves no memory of a process", () => {
		const { kernel, iommu, ioas } = attached({ version: "7.2" });
		const change = () =>
			request(kernel, iommu, uapi.IOMMU_IOAS_CHANGE_PROCESS, uapi.iommu_ioas_change_process, {}).size;
		expect(change()).toBe(8);
		ioasMap(kernel, iommu, ioas, { user_va: kernel.allocate(4096).address });
		expect(outcome(change)).toBe("EINVAL");
	});
});

describe("a driver that wants its device back", () => {
	it("waits for every file of the character device, bound or not", async () => {
		const { linux, kernel, cdev, iommu } = attached();
		const other = kernel.open(`/dev/vfio/devices/${cdevName(kernel, EDU)}`, O_RDWR);
		let done = false;
		const unbinding = linux.writeFileAsync(kernel, driverFile("vfio-pci", "unbind"), EDU).then(() => {
			done = true;
		});
		expect(outcome(() => kernel.readDirectory("/dev/vfio/devices"))).toBe("ENOENT");
		expect(kernel.pread(cdev, new Uint8Array(4), CONFIG)).toBe(4);
		kernel.close(cdev);
		await Promise.resolve();
		expect(done).toBe(false);
		kernel.close(other);
		await unbinding;
		kernel.close(iommu);
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("gives an address space back what a killed program had", () => {
		const { linux, kernel, iommu, ioas } = attached();
		ioasMap(kernel, iommu, ioas, { user_va: kernel.allocate(4096).address });
		expect(iovaRanges(kernel, iommu, ioas).ranges.length).toBe(2);
		kernel.exit();
		expect(linux.leaks()).toEqual(NOTHING);
		openCdev(linux.process(), EDU);
	});
});
