import { describe, expect, it } from "vitest";
import {
	VFIO_CHECK_EXTENSION,
	VFIO_GET_API_VERSION,
	VFIO_IOMMU_DIRTY_PAGES,
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_iommu_type1_info,
} from "../../../core/uapi/vfio.ts";
import {
	attach,
	bind,
	boot,
	EDU,
	iommuInfo,
	map,
	NVME,
	openContainer,
	openGroup,
	outcome,
	PAGE,
	READ_WRITE,
	setContainer,
	setIommu,
	unmap,
} from "./support.ts";

const extension = (kernel: ReturnType<ReturnType<typeof boot>["process"]>, fd: number, value: number) =>
	kernel.ioctl(fd, VFIO_CHECK_EXTENSION, value);

describe("Container", () => {
	it("1: ioctl() answers GET_API_VERSION with 0", () => {
		const kernel = boot().process();
		expect(kernel.ioctl(openContainer(kernel), VFIO_GET_API_VERSION)).toBe(0);
	});

	it.each([
		["2", 1, 1, 1],
		["2", 3, 1, 1],
		["2", 9, 1, 1],
		["3", 0, 0, 0],
		["3", 2, 0, 0],
		["3", 4, 0, 0],
		["3", 6, 1, 0],
		["3", 7, 0, 0],
		["3", 8, 0, 0],
		["3", 10, 0, 0],
		["3", 999, 0, 0],
	])(
		"%s: ioctl() answers CHECK_EXTENSION %i with %i on 6.12 and %i on 7.2 before an IOMMU is set",
		(_, value, old, current) => {
			for (const [version, expected] of [
				["6.12", old],
				["7.2", current],
			] as const) {
				const kernel = boot({ version }).process();
				expect(extension(kernel, openContainer(kernel), value)).toBe(expected);
			}
		},
	);

	it("4: ioctl() refuses SET_IOMMU with EINVAL when no group is attached", () => {
		const kernel = boot().process();
		const container = openContainer(kernel);
		expect(outcome(() => setIommu(kernel, container))).toBe("EINVAL");
	});

	it.each([
		["5", VFIO_IOMMU_GET_INFO],
		["5", VFIO_IOMMU_MAP_DMA],
		["5", VFIO_IOMMU_UNMAP_DMA],
		["5", VFIO_IOMMU_DIRTY_PAGES],
		["6", 0x3b7f],
	])("%s: ioctl() refuses 0x%x with EINVAL before an IOMMU is set", (_, request) => {
		const kernel = boot().process();
		expect(outcome(() => kernel.ioctl(openContainer(kernel), request, new Uint8Array(64)))).toBe("EINVAL");
	});

	it.each([0x3b7f, 0x3b73, 0x3b74])("6: ioctl() refuses 0x%x with ENOTTY after SET_IOMMU", (request) => {
		const kernel = boot().process();
		const { container } = attach(kernel);
		expect(outcome(() => kernel.ioctl(container, request, new Uint8Array(64)))).toBe("ENOTTY");
	});

	it("7, 8: ioctl() refuses an unknown SET_IOMMU type with ENODEV and takes a known one then", () => {
		const kernel = boot({ version: "7.2" }).process();
		bind(kernel, NVME);
		const container = openContainer(kernel);
		setContainer(kernel, openGroup(kernel, NVME), container);
		expect([99, 6, 8, 0].map((type) => outcome(() => setIommu(kernel, container, type)))).toEqual(
			Array(4).fill("ENODEV"),
		);
		expect(setIommu(kernel, container, 3)).toBe(0);
	});

	it("9: ioctl() refuses a second SET_IOMMU with EINVAL", () => {
		const kernel = boot().process();
		const { container } = attach(kernel);
		expect(outcome(() => setIommu(kernel, container, 3))).toBe("EINVAL");
		expect(outcome(() => setIommu(kernel, container, 1))).toBe("EINVAL");
	});

	it.each([false, true])("10: ioctl() answers UPDATE_VADDR and DMA_CC when snoop control is %s", (snoopControl) => {
		const kernel = boot({ snoopControl }).process();
		const { container } = attach(kernel);
		expect(extension(kernel, container, 10)).toBe(1);
		expect(extension(kernel, container, 4)).toBe(snoopControl ? 1 : 0);
	});

	it("11: ioctl() refuses SET_IOMMU with EPERM without interrupt remapping, unless that is allowed", () => {
		const kernel = boot({ machine: { interruptRemapping: false } }).process();
		bind(kernel, NVME);
		const container = openContainer(kernel);
		setContainer(kernel, openGroup(kernel, NVME), container);
		expect(outcome(() => setIommu(kernel, container))).toBe("EPERM");
		kernel.writeFile("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y");
		expect(setIommu(kernel, container)).toBe(0);
	});

	it.each([
		["12", 15, "EINVAL", 15],
		["12", 16, 0, 120],
		["13", 24, 0, 120],
		["13", 119, 0, 120],
		["14", 120, 0, 120],
		["14", 300, 0, 300],
	])("%s: ioctl() answers GET_INFO with argsz %i with %s and argsz %i", (_, argsz, result, after) => {
		const kernel = boot().process();
		const { container } = attach(kernel);
		const info = vfio_iommu_type1_info.create(300);
		info.bytes.fill(0xee);
		info.argsz = argsz;
		expect(outcome(() => kernel.ioctl(container, VFIO_IOMMU_GET_INFO, info.bytes))).toBe(result);
		expect(info.argsz).toBe(after);
		if (result !== 0) return;
		expect(info.flags).toBe(3);
		// The fields beyond what the caller knows are not touched.
		expect(info.cap_offset).toBe(argsz < 24 ? 0xeeeeeeee : argsz < 120 ? 0 : 24);
		expect(info.bytes[argsz < 120 ? 24 : 120]).toBe(0xee);
	});

	it("14, 15, 16: ioctl() answers GET_INFO with capabilities 2, 3, 1, page sizes and ranges around the MSI window", () => {
		const kernel = boot().process();
		const { container } = attach(kernel);
		const info = iommuInfo(kernel, container);
		expect(info.capabilities).toEqual([
			{ id: 2, version: 1, offset: 24 },
			{ id: 3, version: 1, offset: 56 },
			{ id: 1, version: 1, offset: 72 },
		]);
		expect(info.pageSizes).toBe(0x40201000n);
		expect(info.ranges).toEqual([
			[0n, 0xfedfffffn],
			[0xfef00000n, 0xffffffffffffn],
		]);
	});

	it("16: ioctl() answers GET_INFO with the address width of the IOMMU", () => {
		const kernel = boot({ machine: { addressWidth: 39 } }).process();
		expect(iommuInfo(kernel, attach(kernel).container).ranges.at(-1)).toEqual([0xfef00000n, 0x7fffffffffn]);
	});

	it("17: ioctl() counts the mappings that are left", () => {
		const kernel = boot().process();
		const { container } = attach(kernel);
		const { address: vaddr } = kernel.allocate(4096);
		expect(iommuInfo(kernel, container).available).toBe(65535);
		for (const iova of [0n, PAGE, 2n * PAGE]) map(kernel, container, { vaddr, iova, size: PAGE });
		expect(iommuInfo(kernel, container).available).toBe(65532);
		unmap(kernel, container, { flags: 2 });
		expect(iommuInfo(kernel, container).available).toBe(65535);
	});

	it("18: ioctl() refuses a null pointer with EFAULT", () => {
		const kernel = boot().process();
		const { container } = attach(kernel);
		for (const request of [VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_IOMMU_DIRTY_PAGES])
			expect(outcome(() => kernel.ioctl(container, request, 0))).toBe("EFAULT");
	});

	it("19: read() and write() are refused with EINVAL", () => {
		const kernel = boot().process();
		const container = openContainer(kernel);
		expect(outcome(() => kernel.read(container, new Uint8Array(4)))).toBe("EINVAL");
		expect(outcome(() => kernel.write(container, new Uint8Array(4)))).toBe("EINVAL");
		expect(outcome(() => kernel.mmap(container, 4096, 3, 1, 0))).toBe("ENODEV");
	});

	it("20: two groups share a container's mappings", () => {
		const linux = boot();
		const kernel = linux.process();
		const { container } = attach(kernel, NVME);
		bind(kernel, EDU);
		const second = openGroup(kernel, EDU);
		expect(setContainer(kernel, second, container)).toBe(0);
		const memory = kernel.allocate(4096);
		map(kernel, container, { vaddr: memory.address, iova: 0x10000n, size: PAGE, flags: READ_WRITE });
		for (const address of [NVME, EDU]) {
			const fn = linux.machine.function(address);
			expect(fn && linux.machine.iommu.write(fn, 0x10000n, Uint8Array.of(7))).toBe(true);
		}
		expect(memory.bytes[0]).toBe(7);
	});
});
