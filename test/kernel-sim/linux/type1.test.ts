import { describe, expect, it } from "vitest";
import { MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_DMA_MAP_FLAG_READ as READ,
	VFIO_DMA_MAP_FLAG_VADDR as VADDR,
	VFIO_IOMMU_DIRTY_PAGES,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_bitmap,
	vfio_iommu_type1_dirty_bitmap,
	vfio_iommu_type1_dirty_bitmap_get,
	vfio_iommu_type1_dma_unmap,
	VFIO_DMA_MAP_FLAG_WRITE as WRITE,
} from "../../../core/uapi/vfio.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";
import {
	attach,
	bind,
	boot,
	deviceFd,
	EDU,
	iommuInfo,
	lockedKilobytes,
	type MapRequest,
	map,
	NVME,
	openGroup,
	outcome,
	PAGE,
	READ_WRITE,
	setContainer,
	setIommu,
	type UnmapRequest,
	unmap,
	unsetContainer,
} from "./support.ts";

/** For where a test has a `map` of its own. */
const mapIn = map;
const UNMAP_DIRTY = 1;
const UNMAP_ALL = 2;
const UNMAP_VADDR = 4;
const START = 1;
const STOP = 2;
const GET = 4;

/** A container with an IOMMU, and 16 pages of memory to map. */
function prepare(options: Parameters<typeof boot>[0] & { type?: number } = {}) {
	const linux = boot(options);
	const kernel = linux.process();
	const { container, group } = attach(kernel, NVME, options.type);
	const memory = kernel.allocate(16 * 4096);
	const vaddr = memory.address;
	return {
		linux,
		kernel,
		container,
		group,
		memory,
		vaddr,
		map: (request: Partial<MapRequest>) =>
			outcome(() => map(kernel, container, { vaddr, iova: 0x10000n, size: PAGE, ...request })),
		unmap: (request: UnmapRequest) => outcome(() => unmap(kernel, container, request)),
		/** The error and the size field after it. */
		failedUnmap(request: UnmapRequest) {
			let size: bigint | undefined;
			const error = outcome(() =>
				unmap(kernel, container, request, (after) => {
					size = after;
				}),
			);
			return [error, size];
		},
		dma(address: string, iova: bigint, from: Uint8Array) {
			const fn = linux.machine.function(address);
			return fn !== undefined && linux.machine.iommu.write(fn, iova, from);
		},
	};
}

describe("Type1 VFIO_IOMMU_MAP_DMA", () => {
	it.each<[string, Partial<MapRequest>, string | number]>([
		["50 argsz", { argsz: 31 }, "EINVAL"],
		["50 argsz", { argsz: 24 }, "EINVAL"],
		["50 longer argsz", { argsz: 64 }, 0],
		["50 unknown flag", { flags: 8 }, "EINVAL"],
		["50 no flag", { flags: 0 }, "EINVAL"],
		["51 READ|VADDR", { flags: READ | VADDR }, "EINVAL"],
		["52 size 0", { size: 0n }, "EINVAL"],
		["52 size 0, VADDR", { size: 0n, flags: VADDR }, "EINVAL"],
		["53 size", { size: PAGE - 1n }, "EINVAL"],
		["53 size 1", { size: 1n }, "EINVAL"],
		["53 iova", { iova: 1n }, "EINVAL"],
		["57 MSI window", { iova: 0xfee00000n }, "EINVAL"],
		["57 into the MSI window", { iova: 0xfedff000n, size: 2n * PAGE }, "EINVAL"],
		["57 out of the MSI window", { iova: 0xfeeff000n, size: 2n * PAGE }, "EINVAL"],
		["57 up to the MSI window", { iova: 0xfedff000n }, 0],
		["57 behind the MSI window", { iova: 0xfef00000n }, 0],
		["58 beyond the aperture", { iova: 0x1000000000000n }, "EINVAL"],
		["58 last page", { iova: 0xfffffffff000n }, 0],
		["58 past the last page", { iova: 0xfffffffff000n, size: 2n * PAGE }, "EINVAL"],
		["59 address 0", { vaddr: 0n }, "EFAULT"],
		["59 address of the kernel", { vaddr: 0xffff888000000000n }, "EFAULT"],
		["iova 0", { iova: 0n }, 0],
		["WRITE only", { flags: WRITE }, 0],
	])("%s: ioctl() of %o answers %s", (_, request, expected) => {
		const { map, kernel, container } = prepare();
		expect(map(request)).toBe(expected);
		expect(iommuInfo(kernel, container).available).toBe(expected === 0 ? 65534 : 65535);
	});

	it("53: ioctl() refuses an unaligned address with EINVAL", () => {
		const { map, vaddr } = prepare();
		expect(map({ vaddr: vaddr + 1n })).toBe("EINVAL");
	});

	it.each([
		["6.12", "EINVAL"],
		["7.2", "EOVERFLOW"],
	] as const)("54, 55, 71: ioctl() refuses what wraps around as %s does, with %s", (version, expected) => {
		const { map, unmap } = prepare({ version });
		expect(map({ iova: 0xfffffffffffff000n, size: 2n * PAGE })).toBe(expected);
		expect(map({ vaddr: 0xfffffffffffff000n, size: 2n * PAGE })).toBe(expected);
		expect(unmap({ iova: 0xfffffffffffff000n, size: 2n * PAGE })).toBe(expected);
		// Ends at the last address, and so does not wrap.
		expect(map({ iova: 0xfffffffffffff000n, size: PAGE })).toBe("EINVAL");
		expect(unmap({ iova: 0xfffffffffffff000n, size: PAGE })).toBe(0n);
	});

	it("56: ioctl() refuses any overlap with EEXIST, before it looks at the range or at the limit", () => {
		const { map } = prepare({ parameters: { vfio_iommu_type1: { dma_entry_limit: 2 } } });
		expect(map({ size: 2n * PAGE })).toBe(0);
		expect(map({ size: 2n * PAGE })).toBe("EEXIST");
		expect(map({ iova: 0x11000n, size: 2n * PAGE })).toBe("EEXIST");
		expect(map({ iova: 0xf000n, size: 4n * PAGE })).toBe("EEXIST");
		expect(map({ iova: 0x10000n, size: 0x1000000000000n })).toBe("EEXIST");
		expect(map({ iova: 0x12000n })).toBe(0);
		// 67, 68
		expect(map({ iova: 0x12000n })).toBe("EEXIST");
		expect(map({ iova: 0x13000n })).toBe("ENOSPC");
		expect(map({ iova: 0xfee00000n })).toBe("ENOSPC");
	});

	it("60: ioctl() leaves nothing behind when half of the memory is missing", () => {
		const { map, kernel, linux, vaddr } = prepare();
		expect(map({ vaddr: vaddr + 15n * PAGE, size: 2n * PAGE })).toBe("EFAULT");
		expect(kernel.lockedPages).toBe(0);
		expect(linux.leaks()).toMatchObject({ dmaMappings: 0, pinnedPages: 0 });
		expect(map({ vaddr: vaddr + 15n * PAGE })).toBe(0);
	});

	it.each([
		["61", PROT_READ, READ_WRITE, "EFAULT"],
		["61", PROT_READ, WRITE, "EFAULT"],
		["61", PROT_READ, READ, 0],
		["62", PROT_NONE, READ, "EFAULT"],
		["62", PROT_NONE, WRITE, "EFAULT"],
		["", PROT_READ | PROT_WRITE, READ_WRITE, 0],
	])("%s: ioctl() of memory with protection %i and flags %i answers %s", (_, protection, flags, expected) => {
		const { map, kernel } = prepare();
		expect(map({ vaddr: kernel.allocate(4096, { protection }).address, flags })).toBe(expected);
	});

	it("63: ioctl() refuses with ENOMEM what goes beyond RLIMIT_MEMLOCK, and charges nothing", () => {
		const linux = boot();
		bind(linux.process(), NVME);
		linux.chown("/dev/vfio/10", 65534);
		const user = linux.process({ uid: 65534, memlock: 128 << 10 });
		const { container } = attach(user);
		const { address: vaddr } = user.allocate(256 << 10);
		const size = 64n << 10n;
		const at = (iova: bigint, bytes = size) => outcome(() => map(user, container, { vaddr, iova, size: bytes }));
		expect(at(0n, 192n << 10n)).toBe("ENOMEM");
		expect(lockedKilobytes(user)).toBe(0);
		expect(at(0n)).toBe(0);
		expect(at(size)).toBe(0);
		expect(at(2n * size, PAGE)).toBe("ENOMEM");
		expect(lockedKilobytes(user)).toBe(128);
		expect(unmap(user, container, { iova: 0n, size })).toBe(size);
		expect(at(2n * size, PAGE)).toBe(0);
	});

	it("64, 65: ioctl() charges root too, and memory that is mapped twice twice", () => {
		const { map, unmap, kernel } = prepare();
		map({ size: 4n * PAGE });
		expect(lockedKilobytes(kernel)).toBe(16);
		map({ iova: 0x50000n, size: 4n * PAGE });
		expect(lockedKilobytes(kernel)).toBe(32);
		unmap({ iova: 0x50000n, size: 4n * PAGE });
		expect(lockedKilobytes(kernel)).toBe(16);
	});

	it("66: ioctl() takes a mapped BAR for peer-to-peer DMA, and does not charge it", () => {
		const { map, kernel, container, dma, linux } = prepare();
		bind(kernel, EDU);
		const group = openGroup(kernel, EDU);
		setContainer(kernel, group, container);
		const edu = deviceFd(kernel, group, EDU);
		const bar = kernel.mmap(edu, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		expect(map({ vaddr: bar.address, iova: 0x100000n, size: PAGE })).toBe(0);
		expect(kernel.lockedPages).toBe(0);
		// The liveness register of edu reads as the complement of what was written.
		expect(dma(NVME, 0x100004n, Uint8Array.of(0xff, 0, 0, 0))).toBe(true);
		expect(bar.read(4, 4)).toBe(0xffffff00);
		bar[Symbol.dispose]();
		expect(linux.leaks().mappings).toBe(0);
		expect(dma(NVME, 0x100004n, Uint8Array.of(1, 0, 0, 0))).toBe(true);
	});

	it("67: the entry limit is the one of SET_IOMMU", () => {
		const { map, unmap, kernel } = prepare({ parameters: { vfio_iommu_type1: { dma_entry_limit: 4 } } });
		kernel.writeFile("/sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "1");
		for (const iova of [0n, 1n, 2n, 3n]) expect(map({ iova: iova * PAGE })).toBe(0);
		expect(map({ iova: 4n * PAGE })).toBe("ENOSPC");
		unmap({ iova: 0n, size: PAGE });
		expect(map({ iova: 4n * PAGE })).toBe(0);
	});

	it("86, 87, 88: DMA reaches what is mapped, with the permission it is mapped with, and faults elsewhere", () => {
		const { map, memory, dma, linux } = prepare();
		map({ size: 2n * PAGE });
		map({ iova: 0x20000n, flags: READ });
		expect(dma(NVME, 0x10ffen, Uint8Array.of(1, 2, 3, 4))).toBe(true);
		expect([...memory.bytes.subarray(0xffe, 0x1002)]).toEqual([1, 2, 3, 4]);
		expect(dma(NVME, 0x30000n, Uint8Array.of(9))).toBe(false);
		expect(dma(NVME, 0x20000n, Uint8Array.of(9))).toBe(false);
		expect(memory.bytes[0]).toBe(0);
		expect(linux.faults.map(({ reason, device }) => [reason, device])).toEqual([
			["not-mapped", NVME],
			["not-permitted", NVME],
		]);
	});

	it("89: memory that was given back stays mapped, and cannot be mapped again", () => {
		const { map, unmap, memory, dma } = prepare();
		const bytes = memory.bytes;
		map({});
		memory[Symbol.dispose]();
		expect(dma(NVME, 0x10000n, Uint8Array.of(5))).toBe(true);
		expect(bytes[0]).toBe(5);
		expect(map({ iova: 0x20000n })).toBe("EFAULT");
		expect(unmap({ iova: 0x10000n, size: PAGE })).toBe(PAGE);
	});

	it("DMA follows an adopted buffer that was remade", () => {
		const { map, kernel, dma } = prepare();
		let buffer = new Uint8Array(4096);
		const adopted = kernel.adopt(() => buffer);
		map({ vaddr: adopted.address });
		buffer = new Uint8Array(8192);
		expect(adopted.length).toBe(8192);
		dma(NVME, 0x10000n, Uint8Array.of(3));
		expect(buffer[0]).toBe(3);
		expect(map({ vaddr: adopted.address + PAGE, iova: 0x20000n })).toBe(0);
	});
});

describe("Type1 VFIO_IOMMU_UNMAP_DMA", () => {
	it.each<[string, UnmapRequest, string]>([
		["69", { argsz: 23, iova: 0x10000n, size: PAGE }, "EINVAL"],
		["69", { flags: 8, iova: 0x10000n, size: PAGE }, "EINVAL"],
		["71", { iova: 0x10000n, size: 0n }, "EINVAL"],
		["71", { iova: 0x10001n, size: PAGE }, "EINVAL"],
		["71", { iova: 0x10000n, size: 0x2800n }, "EINVAL"],
		["72", { iova: 0x10000n, size: 2n * PAGE }, "EINVAL"],
		["73", { iova: 0x12000n, size: 2n * PAGE }, "EINVAL"],
		["73", { iova: 0x11000n, size: 2n * PAGE }, "EINVAL"],
		["75", { iova: 0xe000n, size: 4n * PAGE }, "EINVAL"],
		["77", { flags: UNMAP_ALL, size: PAGE }, "EINVAL"],
		["77", { flags: UNMAP_ALL, iova: PAGE }, "EINVAL"],
		["78", { flags: UNMAP_ALL | UNMAP_DIRTY }, "EINVAL"],
		["78", { flags: UNMAP_VADDR | UNMAP_DIRTY, iova: 0x10000n, size: PAGE }, "EINVAL"],
	])("%s: ioctl() of %o answers %s and does not touch the size", (_, request, expected) => {
		const { map, failedUnmap, kernel } = prepare();
		map({ size: 4n * PAGE });
		expect(failedUnmap(request)).toEqual([expected, request.size ?? 0n]);
		expect(kernel.lockedPages).toBe(4);
	});

	it("70, 74: ioctl() removes whole mappings and says how much", () => {
		const { map, unmap } = prepare();
		map({ iova: 0n });
		map({ iova: 2n * PAGE });
		expect(unmap({ iova: 0n, size: 4n * PAGE })).toBe(2n * PAGE);
		expect(unmap({ iova: 0n, size: 4n * PAGE })).toBe(0n);
		map({});
		expect(unmap({ iova: 0x10000n, size: PAGE })).toBe(PAGE);
		expect(unmap({ iova: 0x10000n, size: PAGE })).toBe(0n);
	});

	it("76: ioctl() with ALL removes everything", () => {
		const { map, unmap, kernel, dma } = prepare();
		for (const [index, size] of [1n, 2n, 3n].entries()) map({ iova: BigInt(index) * 0x10000n, size: size * PAGE });
		expect(unmap({ flags: UNMAP_ALL })).toBe(6n * PAGE);
		expect(unmap({ flags: UNMAP_ALL })).toBe(0n);
		expect(kernel.lockedPages).toBe(0);
		expect(dma(NVME, 0n, Uint8Array.of(1))).toBe(false);
	});

	it.each<[string, UnmapRequest, bigint, bigint]>([
		["79", { iova: 0x10000n, size: PAGE }, 4n, 0n],
		["79 from before", { iova: 0xf000n, size: 2n * PAGE }, 4n, 0n],
		["80", { iova: 0x11000n, size: PAGE }, 0n, 4n],
		["80 over the next one", { iova: 0x11000n, size: 0x10000n }, 0n, 4n],
	])("%s: version 1 answers %o with %i pages, and %i stay", (_, request, removed, left) => {
		const { map, unmap, kernel } = prepare({ type: 1 });
		map({ size: 4n * PAGE });
		expect(unmap(request)).toBe(removed * PAGE);
		expect(BigInt(kernel.lockedPages)).toBe(left);
	});

	it("81: version 1 removes two adjacent mappings at once", () => {
		const { map, unmap } = prepare({ type: 1 });
		map({ iova: 0n });
		map({ iova: PAGE });
		expect(unmap({ iova: 0n, size: 2n * PAGE })).toBe(2n * PAGE);
		expect(unmap({ flags: UNMAP_ALL })).toBe(0n);
	});

	it("82, 83: the address of a mapping changes by VADDR, and the pages stay", () => {
		const { map, unmap, vaddr, dma, memory } = prepare();
		map({});
		expect(map({ flags: VADDR })).toBe("EINVAL");
		expect(map({ flags: VADDR, iova: 0x90000n })).toBe("ENOENT");
		expect(unmap({ flags: UNMAP_VADDR, iova: 0x10000n, size: PAGE })).toBe(PAGE);
		expect(map({ flags: VADDR, size: 2n * PAGE })).toBe("EINVAL");
		expect(dma(NVME, 0x10000n, Uint8Array.of(4))).toBe(true);
		expect(memory.bytes[0]).toBe(4);
		expect(map({ flags: VADDR, vaddr: vaddr + PAGE })).toBe(0);
		expect(map({ flags: VADDR, vaddr: vaddr + PAGE })).toBe("EINVAL");
	});

	it("84: VADDR over a mapping that was invalidated before changes nothing", () => {
		const { map, unmap, failedUnmap } = prepare();
		map({ iova: 0n });
		map({ iova: PAGE });
		unmap({ flags: UNMAP_VADDR, iova: 0n, size: PAGE });
		expect(failedUnmap({ flags: UNMAP_VADDR, iova: 0n, size: 2n * PAGE })).toEqual(["EINVAL", 2n * PAGE]);
		expect(unmap({ flags: UNMAP_VADDR, iova: PAGE, size: PAGE })).toBe(PAGE);
		expect(unmap({ flags: UNMAP_ALL })).toBe(2n * PAGE);
	});

	it("85: a group cannot come in while an address is invalid", () => {
		const { map, unmap, kernel, container } = prepare();
		bind(kernel, EDU);
		const group = openGroup(kernel, EDU);
		map({});
		unmap({ flags: UNMAP_VADDR, iova: 0x10000n, size: PAGE });
		expect(outcome(() => setContainer(kernel, group, container))).toBe("EBUSY");
		expect(map({ flags: VADDR })).toBe(0);
		expect(setContainer(kernel, group, container)).toBe(0);
	});

	it("VADDR by another process charges that one, within its limit", () => {
		const { map, unmap, kernel, container, vaddr } = prepare();
		map({ size: 4n * PAGE });
		unmap({ flags: UNMAP_VADDR, iova: 0x10000n, size: 4n * PAGE });
		const child = kernel.fork();
		const request = { flags: VADDR, vaddr, iova: 0x10000n, size: 4n * PAGE };
		expect(outcome(() => mapIn(child, container, request))).toBe(0);
		expect([kernel.lockedPages, child.lockedPages]).toEqual([0, 4]);
	});

	it("90: a child unmaps what its parent has mapped", () => {
		const { map, kernel, container } = prepare();
		map({});
		const child = kernel.fork();
		expect(unmap(child, container, { iova: 0x10000n, size: PAGE })).toBe(PAGE);
		expect([kernel.lockedPages, child.lockedPages]).toEqual([0, 0]);
	});

	it("98: mappings live on without a descriptor of the container, until the group leaves", () => {
		const { map, kernel, container, group, dma, linux } = prepare();
		map({});
		kernel.close(container);
		expect(dma(NVME, 0x10000n, Uint8Array.of(1))).toBe(true);
		expect(unsetContainer(kernel, group)).toBe(0);
		expect(linux.leaks().dmaMappings).toBe(0);
		expect(kernel.lockedPages).toBe(0);
		expect(dma(NVME, 0x10000n, Uint8Array.of(1))).toBe(false);
	});
});

describe("Type1 VFIO_IOMMU_DIRTY_PAGES", () => {
	interface GetRequest {
		argsz?: number;
		flags?: number;
		iova?: bigint;
		size?: bigint;
		pageSize?: bigint;
		bitmapSize?: bigint;
		data?: bigint;
	}
	function dirty(kernel: SimProcess, container: number, request: GetRequest = {}): string | number {
		const { argsz = 48, flags = GET, iova = 0n, size = PAGE, pageSize = PAGE, bitmapSize = 8n, data = 0n } = request;
		const argument = vfio_iommu_type1_dirty_bitmap.create(vfio_iommu_type1_dirty_bitmap_get.size);
		Object.assign(argument, { argsz, flags });
		const get = vfio_iommu_type1_dirty_bitmap_get.view(argument.bytes, 8);
		Object.assign(get, { iova, size, bitmap_pgsize: pageSize, bitmap_size: bitmapSize, bitmap_data: data });
		return outcome(() => kernel.ioctl(container, VFIO_IOMMU_DIRTY_PAGES, argument.bytes));
	}

	it("91: version 1 refuses it with EACCES, and UNMAP with a bitmap with EINVAL", () => {
		const { kernel, container, failedUnmap } = prepare({ type: 1 });
		expect(dirty(kernel, container)).toBe("EACCES");
		expect(outcome(() => kernel.ioctl(container, VFIO_IOMMU_DIRTY_PAGES, 0))).toBe("EACCES");
		expect(failedUnmap({ flags: UNMAP_DIRTY, iova: 0n, size: PAGE })[0]).toBe("EINVAL");
	});

	it.each([0, 3, 5, 6, 7, 8])("92: flags %i are refused with EINVAL", (flags) => {
		const { kernel, container } = prepare();
		expect(dirty(kernel, container, { flags })).toBe("EINVAL");
	});

	it("93: START and STOP are idempotent, GET needs START", () => {
		const { kernel, container, vaddr } = prepare();
		expect(dirty(kernel, container, { data: vaddr })).toBe("EINVAL");
		const flags = [START, START, STOP, STOP];
		expect(flags.map((flag) => dirty(kernel, container, { flags: flag, argsz: 8 }))).toEqual([0, 0, 0, 0]);
		expect(dirty(kernel, container, { data: vaddr })).toBe("EINVAL");
	});

	it("94: GET reports every mapped page, every time", () => {
		const { kernel, container, map } = prepare();
		const bitmap = kernel.allocate(4096);
		dirty(kernel, container, { flags: START });
		map({ iova: 0n, size: 3n * PAGE });
		for (const _ of [1, 2]) {
			bitmap.bytes.fill(0);
			expect(dirty(kernel, container, { size: 3n * PAGE, data: bitmap.address })).toBe(0);
			expect(bitmap.bytes[0]).toBe(7);
		}
	});

	it.each<[string, GetRequest]>([
		["95 page size", { pageSize: 2n * PAGE }],
		["95 page size 0", { pageSize: 0n }],
		["95 bitmap too small", { bitmapSize: 4n }],
		["95 bitmap of 0 bytes", { bitmapSize: 0n }],
		["95 bitmap too large", { bitmapSize: 0x10000001n }],
		["95 argsz", { argsz: 47 }],
		["95 size 0", { size: 0n }],
		["95 unaligned", { iova: 1n }],
		["95 not user memory", { data: 0xffff888000000000n }],
		["96 cuts a mapping", { size: 2n * PAGE }],
		["96 cuts a mapping", { iova: PAGE, size: 2n * PAGE }],
	])("%s: GET of %o is refused with EINVAL", (_, request) => {
		const { kernel, container, map } = prepare();
		const { address: data } = kernel.allocate(4096);
		dirty(kernel, container, { flags: START });
		map({ iova: 0n, size: 3n * PAGE });
		expect(dirty(kernel, container, { size: 3n * PAGE, data, ...request })).toBe("EINVAL");
	});

	it("96: GET of a wider range writes words that hold bits of a mapping and leaves the others", () => {
		const { kernel, container, map } = prepare();
		const bitmap = kernel.allocate(4096);
		dirty(kernel, container, { flags: START });
		map({ iova: 4n * PAGE, size: 2n * PAGE });
		map({ iova: 70n * PAGE, size: 2n * PAGE });
		bitmap.bytes.fill(0xff, 0, 24);
		expect(dirty(kernel, container, { size: 192n * PAGE, bitmapSize: 24n, data: bitmap.address })).toBe(0);
		expect([...bitmap.bytes.subarray(0, 24)]).toEqual([
			// As recorded: a mapping that begins inside a word keeps what the kernel found in that word.
			...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
			...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
			...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
		]);
		expect(dirty(kernel, container, { size: 192n * PAGE, bitmapSize: 24n, data: 0n })).toBe("EFAULT");
	});

	it("97: UNMAP reports the pages it removes while tracking is on", () => {
		const { kernel, container, map } = prepare();
		const bitmap = kernel.allocate(4096);
		const take = (argsz = 48, pageSize = PAGE) => {
			const argument = vfio_iommu_type1_dma_unmap.create(vfio_bitmap.size);
			Object.assign(argument, { argsz, flags: UNMAP_DIRTY, iova: 0n, size: 4n * PAGE });
			const tail = vfio_bitmap.view(argument.bytes, vfio_iommu_type1_dma_unmap.size);
			Object.assign(tail, { pgsize: pageSize, size: 8n, data: bitmap.address });
			const result = outcome(() => kernel.ioctl(container, VFIO_IOMMU_UNMAP_DMA, argument.bytes));
			return result === 0 ? argument.size : result;
		};
		map({ iova: 2n * PAGE, size: 2n * PAGE });
		expect(take()).toBe("EINVAL");
		dirty(kernel, container, { flags: START });
		expect(take(40)).toBe("EINVAL");
		expect(take(48, 2n * PAGE)).toBe("EINVAL");
		expect(take()).toBe(2n * PAGE);
		expect(bitmap.bytes[0]).toBe(0b1100);
		expect(take()).toBe(0n);
	});
});

describe("Type1 groups", () => {
	it("a group cannot come in when what it reserves is mapped, and the others stay", () => {
		const { kernel, container, map, linux } = prepare();
		const group = openSecond(kernel);
		const reserved = linux.pci.devices.get(EDU)?.group?.reserved as { start: bigint; end: bigint; kind: string }[];
		reserved.push({ start: 0x10000n, end: 0x1ffffn, kind: "reserved" });
		map({});
		expect(outcome(() => setContainer(kernel, group, container))).toBe("EINVAL");
		unmap(kernel, container, { flags: UNMAP_ALL });
		expect(setContainer(kernel, group, container)).toBe(0);
		expect(iommuInfo(kernel, container).ranges).toEqual([
			[0n, 0xffffn],
			[0x20000n, 0xfedfffffn],
			[0xfef00000n, 0xffffffffffffn],
		]);
		expect(map({})).toBe("EINVAL");
		unsetContainer(kernel, group);
		expect(map({})).toBe(0);
	});

	it("SET_IOMMU undoes what it did when one of the groups is refused", () => {
		const linux = boot({ machine: { interruptRemapping: false } });
		const kernel = linux.process();
		bind(kernel, NVME);
		bind(kernel, EDU);
		const container = kernel.open("/dev/vfio/vfio", 2);
		for (const address of [NVME, EDU]) setContainer(kernel, openGroup(kernel, address), container);
		expect(outcome(() => setIommu(kernel, container))).toBe("EPERM");
		expect(linux.pci.devices.get(NVME)?.group?.domain).toBeUndefined();
	});
});

function openSecond(kernel: SimProcess): number {
	bind(kernel, EDU);
	return openGroup(kernel, EDU);
}
