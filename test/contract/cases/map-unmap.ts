import { O_RDWR, PROT_NONE, PROT_READ } from "../../../core/uapi/fcntl.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import { bytesOf, hex } from "../calls.ts";
import type { Case } from "../case.ts";
import { EDU, EDU_ID, eduDma, enableDma } from "../edu-registers.ts";
import { edu, needs, nvme, of } from "../roles.ts";
import { lockedOf, PAGE, type Trial } from "../trial.ts";

const { VFIO_DMA_MAP_FLAG_READ: READ, VFIO_DMA_MAP_FLAG_WRITE: WRITE, VFIO_DMA_MAP_FLAG_VADDR: MAP_VADDR } = vfio;
const {
	VFIO_DMA_UNMAP_FLAG_ALL: ALL,
	VFIO_DMA_UNMAP_FLAG_VADDR: UNMAP_VADDR,
	VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: GET_DIRTY,
} = vfio;
const { VFIO_IOMMU_DIRTY_PAGES_FLAG_START: START, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: STOP } = vfio;
const KIB = 1024;
const TOP = 0xffff_ffff_ffff_f000n;
const NOBODY = 65534;
const LIMIT = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";

/** A container with a type 1 IOMMU, and memory of that many pages. */
function prepared(t: Trial, pages = 1, type = vfio.VFIO_TYPE1v2_IOMMU) {
	const { container } = t.attach(of(edu, t.host), type);
	const memory = t.buffer(pages * PAGE);
	return { container, memory, vaddr: memory.address };
}

/** What wraps is told apart from what is merely wrong since 7.x. */
const wraps = (t: Trial) => t.by({ "6.12": "EINVAL", "7.2": "EOVERFLOW" });

/** I.3: mapping and unmapping. */
export const mapUnmapCases: readonly Case[] = [
	{
		id: "I.3/50",
		name: "MAP wants 32 bytes and known flags",
		run(t) {
			const { container, vaddr } = prepared(t);
			for (const argsz of [0, 8, 24, 31]) t.is(t.map(container, { vaddr, argsz }), "EINVAL");
			for (const flags of [0, 8, 11, 16, 0x80000000]) t.is(t.map(container, { vaddr, flags }), "EINVAL");
			t.is(t.available(container), 65535);
			t.is(t.map(container, { vaddr, argsz: 64 }), 0);
		},
		needs: needs(edu),
	},
	{
		id: "I.3/51",
		name: "MAP takes VADDR alone",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t);
			for (const flags of [5, 6, 7]) t.is(t.map(container, { vaddr, flags }), "EINVAL");
		},
	},
	{
		id: "I.3/52",
		name: "MAP of nothing is EINVAL",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t);
			for (const flags of [0, 1, 2, 3, 4, 7]) t.is(t.map(container, { vaddr, size: 0, flags }), "EINVAL");
			t.is(t.map(container, { vaddr: 0n, size: 0 }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: TOP, size: 0 }), "EINVAL");
		},
	},
	{
		id: "I.3/53",
		name: "MAP wants whole pages",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			for (const size of [1, PAGE - 1, PAGE + 1, 2048]) t.is(t.map(container, { vaddr, size }), "EINVAL");
			for (const iova of [1n, 0xfffn, 0x800n]) t.is(t.map(container, { vaddr, iova }), "EINVAL");
			for (const offset of [1n, 8n, 0xfffn]) t.is(t.map(container, { vaddr: vaddr + offset }), "EINVAL");
		},
	},
	{
		id: "I.3/54",
		name: "MAP past the last IOVA",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			t.is(t.map(container, { vaddr, iova: TOP, size: 2 * PAGE }), wraps(t));
			t.is(t.map(container, { vaddr, iova: TOP, size: TOP }), wraps(t));
			t.is(t.map(container, { vaddr, iova: TOP, size: PAGE }), "EINVAL");
			t.is(
				t.map(container, { vaddr, iova: TOP, size: 2 * PAGE, flags: 0 }),
				t.by({ "6.12": "EINVAL", "7.2": "EOVERFLOW" }),
			);
		},
	},
	{
		id: "I.3/55",
		name: "MAP past the last address",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			t.is(t.map(container, { vaddr: TOP, size: 2 * PAGE }), wraps(t));
			t.is(t.map(container, { vaddr: TOP, size: PAGE }), "EFAULT");
		},
	},
	{
		id: "I.3/56",
		name: "mappings do not overlap, and may touch",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 8);
			t.is(t.map(container, { vaddr, iova: 0x10000n, size: 2 * PAGE }), 0);
			const overlapping = [
				[0x10000n, 2],
				[0x10000n, 1],
				[0x11000n, 1],
				[0x11000n, 2],
				[0xf000n, 2],
				[0xf000n, 4],
			] as const;
			for (const [iova, pages] of overlapping) t.is(t.map(container, { vaddr, iova, size: pages * PAGE }), "EEXIST");
			t.is(t.map(container, { vaddr, iova: 0x12000n }), 0);
			t.is(t.map(container, { vaddr, iova: 0xf000n }), 0);
			t.is(t.map(container, { vaddr: vaddr + 0x5000n, iova: 0x10000n }), "EEXIST");
		},
	},
	{
		id: "I.3/57",
		name: "the message window is not mapped",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 4);
			for (const iova of [0xfee00000n, 0xfeeff000n, 0xfee80000n]) t.is(t.map(container, { vaddr, iova }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: 0xfedff000n, size: 2 * PAGE }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: 0xfeeff000n, size: 2 * PAGE }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: 0xfedff000n }), 0);
			t.is(t.map(container, { vaddr, iova: 0xfef00000n }), 0);
		},
	},
	{
		id: "I.3/58",
		name: "the last page can be mapped, and none after it",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			const last = t.iovaRanges(container).at(-1)?.[1] ?? 0n;
			t.is(t.map(container, { vaddr, iova: last + 1n }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: last + 1n - 0x1000n, size: 2 * PAGE }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: last + 1n - 0x1000n }), 0);
			t.unmaps(container, { iova: last + 1n - 0x1000n }, PAGE);
		},
	},
	{
		id: "I.3/59",
		name: "memory that is not there is EFAULT, and takes no entry",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			const before = t.available(container);
			const gone = t.buffer(PAGE, PROT_NONE).address;
			t.is(t.map(container, { vaddr: 0n }), "EFAULT");
			t.is(t.map(container, { vaddr: 0xffff888000000000n }), "EFAULT");
			t.is(t.map(container, { vaddr: gone }), "EFAULT");
			t.is(t.available(container), before);
			t.unmaps(container, {}, 0);
		},
	},
	{
		id: "I.3/60",
		name: "memory that ends half-way is EFAULT, and leaves nothing behind",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			// No process has 64 TiB in a row.
			const memory = t.buffer(4 * PAGE);
			const locked = t.locked;
			t.is(t.map(container, { vaddr: memory.address, iova: 1n << 32n, size: 1n << 46n }), "EFAULT");
			t.is(t.locked, locked, "VmLck");
			t.is(t.map(container, { vaddr: memory.address, size: 4 * PAGE }), 0);
		},
	},
	{
		id: "I.3/61",
		name: "read-only memory is mapped for reading alone",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			const { address: vaddr } = t.buffer(PAGE, PROT_READ);
			t.is(t.map(container, { vaddr }), "EFAULT");
			t.is(t.map(container, { vaddr, flags: WRITE }), "EFAULT");
			t.is(t.map(container, { vaddr, flags: READ }), 0);
		},
	},
	{
		id: "I.3/62",
		name: "memory that nobody may touch is EFAULT",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			const { address: vaddr } = t.buffer(PAGE, PROT_NONE);
			for (const flags of [READ, WRITE, READ | WRITE]) t.is(t.map(container, { vaddr, flags }), "EFAULT");
		},
	},
	{
		id: "I.3/63",
		name: "RLIMIT_MEMLOCK bounds what a user without CAP_IPC_LOCK can map",
		needs: needs(edu),
		async run(t) {
			const device = of(edu, t.host);
			t.bind(device);
			t.target.chown(`/dev/vfio/${device.group}`, NOBODY);
			t.releases.defer(() => t.target.chown(`/dev/vfio/${device.group}`, 0));
			const user = await t.spawn({ uid: NOBODY, memlock: 64 * KIB });
			const c = (await user.open("/dev/vfio/vfio", O_RDWR)) as number;
			const g = (await user.open(`/dev/vfio/${device.group}`, O_RDWR)) as number;
			t.is(await user.ioctl(g, vfio.VFIO_GROUP_SET_CONTAINER, bytesOf(c, 4)), 0, "SET_CONTAINER");
			t.is(await user.ioctl(c, vfio.VFIO_SET_IOMMU, vfio.VFIO_TYPE1v2_IOMMU), 0, "SET_IOMMU");
			const vaddr = await user.allocate(256 * KIB);
			const map = (iova: number, size: number) => {
				const view = vfio.vfio_iommu_type1_dma_map.create();
				Object.assign(view, {
					argsz: 32,
					flags: READ | WRITE,
					vaddr: vaddr + BigInt(iova),
					iova: BigInt(iova),
					size: BigInt(size),
				});
				return user.ioctl(c, vfio.VFIO_IOMMU_MAP_DMA, view.bytes);
			};
			const locked = async () => lockedOf(await user.readFile("/proc/self/status"));
			const before = await locked();
			t.is(await map(0, 128 * KIB), "ENOMEM", "128 KiB");
			t.is(await locked(), before, "VmLck after ENOMEM");
			t.is(await map(0, 64 * KIB), 0, "64 KiB");
			t.is(await locked(), before + 64, "VmLck");
			t.is(await map(64 * KIB, PAGE), "ENOMEM", "a page more");
			const unmap = vfio.vfio_iommu_type1_dma_unmap.create();
			Object.assign(unmap, { argsz: 24, flags: 0, iova: 0n, size: BigInt(64 * KIB) });
			t.is(await user.ioctl(c, vfio.VFIO_IOMMU_UNMAP_DMA, unmap.bytes), 0, "UNMAP");
			t.is(await map(64 * KIB, PAGE), 0, "the page now");
		},
	},
	{
		id: "I.3/64",
		name: "mapped memory is locked, root's too",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 256);
			const before = t.locked;
			t.is(t.map(container, { vaddr, size: 256 * PAGE }), 0);
			t.is(t.locked - before, 1024, "VmLck");
			t.unmaps(container, { size: 256 * PAGE }, 256 * PAGE);
			t.is(t.locked, before, "VmLck");
		},
	},
	{
		id: "I.3/65",
		name: "memory at two IOVAs is locked twice",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 16);
			const before = t.locked;
			t.is(t.map(container, { vaddr, size: 16 * PAGE }), 0);
			t.is(t.map(container, { vaddr, iova: 0x100000n, size: 16 * PAGE }), 0);
			t.is(t.locked - before, 128, "VmLck");
		},
	},
	{
		id: "I.3/66",
		name: "a BAR in this process's memory can be mapped, and locks nothing",
		needs: needs(edu),
		run(t) {
			const { container, fd } = t.device(of(edu, t.host));
			const bar = t.mmap(fd, 0, 0, 16 * PAGE);
			if (typeof bar === "string") throw new Error(`mmap: ${bar}`);
			const before = t.locked;
			t.observations.remember(bar);
			t.is(t.map(container, { vaddr: bar.address, size: 16 * PAGE }), 0);
			t.is(t.locked, before, "VmLck");
			t.unmaps(container, { size: 16 * PAGE }, 16 * PAGE);
		},
	},
	{
		id: "I.3/67",
		name: "dma_entry_limit bounds the mappings of a container",
		needs: needs(edu),
		run(t) {
			t.setting(LIMIT, "4");
			const { container, vaddr } = prepared(t);
			t.is(t.available(container), 4);
			for (let index = 0n; index < 4n; index++) t.is(t.map(container, { vaddr, iova: index << 16n }), 0);
			t.is(t.available(container), 0);
			t.is(t.map(container, { vaddr, iova: 4n << 16n }), "ENOSPC");
			t.unmaps(container, { iova: 1n << 16n }, PAGE);
			t.is(t.map(container, { vaddr, iova: 4n << 16n }), 0);
			// It counts when the IOMMU is set.
			t.target.kernel.writeFile(LIMIT, "9");
			t.is(t.map(container, { vaddr, iova: 5n << 16n }), "ENOSPC");
		},
	},
	{
		id: "I.3/68",
		name: "an overlap is told before a full table, and a full table before a wrong range",
		needs: needs(edu),
		run(t) {
			t.setting(LIMIT, "1");
			const { container, vaddr } = prepared(t);
			t.is(t.map(container, { vaddr }), 0);
			t.is(t.map(container, { vaddr }), "EEXIST");
			t.is(t.map(container, { vaddr, iova: 0x10000n }), "ENOSPC");
			t.is(t.map(container, { vaddr, iova: 0xfee00000n }), "ENOSPC");
			t.is(t.map(container, { vaddr: 0n, iova: 0x10000n }), "ENOSPC");
		},
	},
	{
		id: "I.3/69",
		name: "UNMAP wants 24 bytes and known flags",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t);
			t.is(t.map(container, { vaddr }), 0);
			for (const argsz of [0, 16, 23]) t.unmapFails(container, { argsz }, "EINVAL");
			for (const flags of [8, 16, 0x80000000]) t.unmapFails(container, { flags }, "EINVAL");
			t.unmaps(container, { argsz: 4096 }, PAGE);
		},
	},
	{
		id: "I.3/70",
		name: "UNMAP says how much it took, and of nothing takes nothing",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 3);
			t.is(t.map(container, { vaddr, size: 3 * PAGE }), 0);
			t.unmaps(container, { size: 3 * PAGE }, 3 * PAGE);
			t.unmaps(container, { size: 3 * PAGE }, 0);
		},
	},
	{
		id: "I.3/71",
		name: "UNMAP wants whole pages that do not wrap",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t);
			t.is(t.map(container, { vaddr }), 0);
			for (const size of [0, 1, PAGE - 1, PAGE + 1]) t.unmapFails(container, { size }, "EINVAL");
			for (const iova of [1n, 0xfffn]) t.unmapFails(container, { iova }, "EINVAL");
			t.unmapFails(container, { iova: TOP, size: 2 * PAGE }, wraps(t));
			t.unmaps(container, { iova: TOP }, 0);
			t.unmaps(container, { iova: 0x1000n, size: TOP - 0x1000n }, 0);
		},
	},
	...[
		["I.3/72", "the first half", 0x0n, 2],
		["I.3/73a", "the last half", 0x2000n, 2],
		["I.3/73b", "the middle", 0x1000n, 2],
	].map(
		([id, part, offset, pages]): Case => ({
			id: id as string,
			name: `v2 does not unmap ${part} of a mapping`,
			needs: needs(edu),
			run(t) {
				const { container, vaddr } = prepared(t, 4);
				t.is(t.map(container, { vaddr, iova: 0x10000n, size: 4 * PAGE }), 0);
				t.unmapFails(container, { iova: 0x10000n + (offset as bigint), size: (pages as number) * PAGE }, "EINVAL");
				t.unmaps(container, { iova: 0x10000n, size: 4 * PAGE }, 4 * PAGE);
			},
		}),
	),
	{
		id: "I.3/74",
		name: "UNMAP takes several mappings and the holes between them",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t);
			t.is(t.map(container, { vaddr, iova: 0n }), 0);
			t.is(t.map(container, { vaddr, iova: 0x2000n }), 0);
			t.unmaps(container, { size: 4 * PAGE }, 2 * PAGE);
			t.is(t.available(container), 65535);
		},
	},
	{
		id: "I.3/75",
		name: "v2 does not unmap from a hole into a mapping",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			t.is(t.map(container, { vaddr, iova: 0x2000n, size: 2 * PAGE }), 0);
			t.unmapFails(container, { iova: 0n, size: 3 * PAGE }, "EINVAL");
			t.unmapFails(container, { iova: 0x3000n, size: 4 * PAGE }, "EINVAL");
			t.unmaps(container, { iova: 0x2000n, size: 2 * PAGE }, 2 * PAGE);
		},
	},
	{
		id: "I.3/76",
		name: "UNMAP ALL takes everything",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 4);
			t.unmaps(container, { size: 0, flags: ALL }, 0);
			for (const [iova, pages] of [
				[0n, 1],
				[0x100000n, 2],
				[0x7f_ffff_f000n, 1],
			] as const)
				t.is(t.map(container, { vaddr, iova, size: pages * PAGE }), 0);
			t.unmaps(container, { size: 0, flags: ALL }, 4 * PAGE);
			t.unmaps(container, { size: 0, flags: ALL }, 0);
		},
	},
	{
		id: "I.3/77",
		name: "UNMAP ALL takes no range",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			for (const [iova, size] of [
				[0n, PAGE],
				[0x1000n, 0],
				[0x1000n, PAGE],
				[1n, 0],
			] as const)
				t.unmapFails(container, { iova, size, flags: ALL }, "EINVAL");
		},
	},
	{
		id: "I.3/78",
		name: "UNMAP reports dirty pages of ranges alone",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			const bitmap = { pgsize: 4096n, size: 8n, data: t.buffer().address };
			t.unmapFails(container, { size: 0, flags: ALL | GET_DIRTY, bitmap }, "EINVAL");
			t.unmapFails(container, { flags: UNMAP_VADDR | GET_DIRTY, bitmap }, "EINVAL");
		},
	},
	{
		id: "I.3/79",
		name: "v1 takes a whole mapping when its beginning is asked for",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 4, vfio.VFIO_TYPE1_IOMMU);
			t.is(t.map(container, { vaddr, iova: 0x10000n, size: 4 * PAGE }), 0);
			t.unmaps(container, { iova: 0x10000n }, 4 * PAGE);
			t.is(t.map(container, { vaddr, iova: 0x10000n, size: 4 * PAGE }), 0);
			t.unmaps(container, { iova: 0xf000n, size: 2 * PAGE }, 4 * PAGE);
			t.unmaps(container, { iova: 0x10000n }, 0);
		},
	},
	{
		id: "I.3/80",
		name: "v1 takes nothing when the middle of a mapping is asked for",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 4, vfio.VFIO_TYPE1_IOMMU);
			t.is(t.map(container, { vaddr, iova: 0x10000n, size: 4 * PAGE }), 0);
			t.is(t.map(container, { vaddr, iova: 0x14000n }), 0);
			t.unmaps(container, { iova: 0x11000n }, 0);
			t.unmaps(container, { iova: 0x13000n, size: 2 * PAGE }, 0);
			t.is(t.map(container, { vaddr, iova: 0x11000n }), "EEXIST");
			t.unmaps(container, { size: 0, flags: ALL }, 5 * PAGE);
		},
	},
	{
		id: "I.3/81",
		name: "v1 takes neighbours together",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2, vfio.VFIO_TYPE1_IOMMU);
			t.is(t.map(container, { vaddr, iova: 0x10000n }), 0);
			t.is(t.map(container, { vaddr, iova: 0x11000n }), 0);
			t.unmaps(container, { iova: 0x10000n, size: 2 * PAGE }, 2 * PAGE);
			t.unmapFails(container, { iova: 1n }, "EINVAL");
			t.unmapFails(container, { size: 0 }, "EINVAL");
		},
	},
	{
		id: "I.3/82",
		name: "an address can be taken from a mapping and another given to it",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			const other = t.buffer(2 * PAGE).address;
			t.is(t.map(container, { vaddr, size: 2 * PAGE }), 0);
			t.unmaps(container, { size: 2 * PAGE, flags: UNMAP_VADDR }, 2 * PAGE);
			t.is(t.map(container, { vaddr: other, size: 2 * PAGE, flags: MAP_VADDR }), 0);
			t.is(t.map(container, { vaddr: other, size: 2 * PAGE, flags: MAP_VADDR }), "EINVAL");
			t.unmaps(container, { size: 2 * PAGE }, 2 * PAGE);
		},
	},
	{
		id: "I.3/83",
		name: "an address is given to a whole mapping that has lost its own",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			t.is(t.map(container, { vaddr, size: 2 * PAGE }), 0);
			t.is(t.map(container, { vaddr, size: 2 * PAGE, flags: MAP_VADDR }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: 0x100000n, size: 2 * PAGE, flags: MAP_VADDR }), "ENOENT");
			t.unmaps(container, { size: 2 * PAGE, flags: UNMAP_VADDR }, 2 * PAGE);
			t.is(t.map(container, { vaddr, flags: MAP_VADDR }), "EINVAL");
			t.is(t.map(container, { vaddr, iova: 0x1000n, flags: MAP_VADDR }), "EINVAL");
			t.is(t.map(container, { vaddr, size: 2 * PAGE, flags: MAP_VADDR }), 0);
		},
	},
	{
		id: "I.3/84",
		name: "taking addresses is all or nothing",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			t.is(t.map(container, { vaddr }), 0);
			t.is(t.map(container, { vaddr, iova: 0x1000n }), 0);
			t.unmaps(container, { flags: UNMAP_VADDR }, PAGE);
			t.unmapFails(container, { size: 2 * PAGE, flags: UNMAP_VADDR }, "EINVAL");
			t.unmaps(container, { iova: 0x1000n, flags: UNMAP_VADDR }, PAGE);
			t.unmapFails(container, { flags: UNMAP_VADDR }, "EINVAL");
			t.unmaps(container, { size: 0, flags: ALL }, 2 * PAGE);
		},
	},
	{
		id: "I.3/84b",
		name: "all addresses can be taken at once",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 2);
			t.is(t.map(container, { vaddr }), 0);
			t.is(t.map(container, { vaddr, iova: 0x1000n }), 0);
			t.unmaps(container, { size: 0, flags: ALL | UNMAP_VADDR }, 2 * PAGE);
			t.is(t.map(container, { vaddr, flags: MAP_VADDR }), 0);
			t.is(t.map(container, { vaddr, iova: 0x1000n, flags: MAP_VADDR }), 0);
		},
	},
	{
		id: "I.3/85",
		name: "no group joins while an address is missing",
		needs: needs(edu, nvme),
		run(t) {
			const { container, vaddr } = prepared(t);
			t.is(t.map(container, { vaddr }), 0);
			t.unmaps(container, { flags: UNMAP_VADDR }, PAGE);
			const second = t.group(of(nvme, t.host));
			t.is(t.setContainer(second, container), "EBUSY");
			t.is(t.map(container, { vaddr, flags: MAP_VADDR }), 0);
			t.is(t.setContainer(second, container), 0);
		},
	},
	{
		id: "I.3/86",
		name: "a device's DMA goes to mapped memory",
		needs: needs(edu),
		async run(t) {
			const { container, fd } = t.device(of(edu, t.host));
			const memory = t.buffer(2 * PAGE);
			for (let at = 0; at < 256; at++) memory.bytes[at] = at;
			t.is(t.map(container, { vaddr: memory.address, iova: 0x100000n, size: 2 * PAGE }), 0);
			enableDma(t, fd);
			await eduDma(t, fd, 0x100000, 256, "to device");
			await eduDma(t, fd, 0x101000, 256, "to memory");
			t.is(hex(memory.bytes.subarray(PAGE, PAGE + 256)), hex(memory.bytes.subarray(0, 256)), "what the device wrote");
			t.is(memory.bytes[PAGE + 256], 0, "the byte behind it");
		},
	},
	{
		id: "I.3/86b",
		name: "a device does no DMA before it is a bus master",
		needs: needs(edu),
		async run(t) {
			const { container, fd } = t.device(of(edu, t.host));
			const memory = t.buffer();
			memory.bytes.fill(0x11);
			t.is(t.map(container, { vaddr: memory.address, iova: 0x100000n }), 0);
			await eduDma(t, fd, 0x100000, 64, "to memory");
			t.is(memory.bytes[0], 0x11, "memory");
		},
	},
	{
		id: "I.3/87",
		name: "DMA outside the mappings changes nothing, and nobody is told by an error",
		needs: needs(edu),
		async run(t) {
			const { container, fd } = t.device(of(edu, t.host));
			const memory = t.buffer(2 * PAGE);
			memory.bytes.fill(0x77);
			t.is(t.map(container, { vaddr: memory.address, iova: 0x100000n, size: PAGE }), 0);
			enableDma(t, fd);
			await eduDma(t, fd, 0x101000, 64, "to memory");
			await eduDma(t, fd, 0x200000, 64, "to memory");
			t.is(hex(memory.bytes.subarray(PAGE, PAGE + 8)), "7777777777777777", "memory");
			t.is(t.pread(fd, 0, EDU.ID, 4), EDU_ID);
		},
	},
	{
		id: "I.3/88",
		name: "a device does not write what was mapped for reading",
		needs: needs(edu),
		async run(t) {
			const { container, fd } = t.device(of(edu, t.host));
			const memory = t.buffer();
			memory.bytes.fill(0x33);
			t.is(t.map(container, { vaddr: memory.address, iova: 0x100000n, flags: READ }), 0);
			enableDma(t, fd);
			await eduDma(t, fd, 0x100000, 64, "to device");
			memory.bytes.fill(0x44);
			await eduDma(t, fd, 0x100000, 64, "to memory");
			t.is(hex(memory.bytes.subarray(0, 4)), "44444444", "memory");
		},
	},
	{
		id: "I.3/89",
		name: "memory that is unmapped from the process stays mapped for the device",
		needs: needs(edu),
		async run(t) {
			const { container, fd } = t.device(of(edu, t.host));
			const memory = t.buffer();
			const seen = t.buffer();
			memory.bytes.fill(0x5c);
			t.is(t.map(container, { vaddr: memory.address, iova: 0x100000n }), 0);
			t.is(t.map(container, { vaddr: seen.address, iova: 0x200000n }), 0);
			memory[Symbol.dispose]();
			enableDma(t, fd);
			await eduDma(t, fd, 0x100000, 64, "to device");
			await eduDma(t, fd, 0x200000, 64, "to memory");
			t.is(hex(seen.bytes.subarray(0, 4)), "5c5c5c5c", "what the device read");
			t.unmaps(container, { iova: 0x100000n }, PAGE);
		},
	},
	{
		id: "I.3/90",
		name: "a child that inherits the container unmaps its parent's mappings",
		needs: needs(edu),
		async run(t) {
			const { container, vaddr } = prepared(t);
			const before = t.locked;
			t.is(t.map(container, { vaddr }), 0);
			const child = await t.spawn({ inherit: [container] });
			const unmap = vfio.vfio_iommu_type1_dma_unmap.create();
			Object.assign(unmap, { argsz: 24, flags: 0, iova: 0n, size: 4096n });
			t.is(
				await child.ioctl(child.inherited[0] as number, vfio.VFIO_IOMMU_UNMAP_DMA, unmap.bytes),
				0,
				"UNMAP in the child",
			);
			t.is(unmap.size, 4096n, "its size");
			t.unmaps(container, {}, 0);
			t.is(t.locked, before, "VmLck of the parent");
		},
	},
	{
		id: "I.3/91",
		name: "v1 tracks no dirty pages",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t, 1, vfio.VFIO_TYPE1_IOMMU);
			for (const flags of [START, STOP, 4, 0, 8]) t.is(t.dirty(container, flags), "EACCES");
			t.is(t.dirty(container, START, 4), "EACCES");
		},
	},
	{
		id: "I.3/92",
		name: "DIRTY_PAGES does one thing at a time",
		needs: needs(edu),
		run(t) {
			const { container } = prepared(t);
			for (const flags of [0, 3, 5, 6, 7, 8, 9]) t.is(t.dirty(container, flags), "EINVAL");
			for (const argsz of [0, 4, 7]) t.is(t.dirty(container, START, argsz), "EINVAL");
		},
	},
	{
		id: "I.3/93",
		name: "tracking starts and stops however often",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t);
			const bitmap = t.buffer();
			t.is(t.map(container, { vaddr }), 0);
			t.is(t.dirtyBitmap(container, { iova: 0n, size: PAGE, bitmap }), "EINVAL");
			for (const flags of [STOP, START, START, STOP, STOP]) t.is(t.dirty(container, flags), 0);
			t.is(t.dirtyBitmap(container, { iova: 0n, size: PAGE, bitmap }), "EINVAL");
		},
	},
	{
		id: "I.3/94",
		name: "every page is dirty, every time",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 3);
			const bitmap = t.buffer();
			t.is(t.dirty(container, START), 0);
			t.is(t.map(container, { vaddr, size: 3 * PAGE }), 0);
			for (let time = 0; time < 3; time++) {
				bitmap.bytes.fill(0);
				t.is(t.dirtyBitmap(container, { iova: 0n, size: 3 * PAGE, bitmap }), 0);
				t.is((bitmap.bytes[0] ?? 0) & 7, 7, "the bitmap");
			}
		},
	},
	{
		id: "I.3/95",
		name: "a bitmap has a bit for each smallest page, and room for all of them",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 3);
			const bitmap = t.buffer();
			t.is(t.dirty(container, START), 0);
			t.is(t.map(container, { vaddr, size: 3 * PAGE }), 0);
			const range = { iova: 0n, size: 3 * PAGE, bitmap };
			for (const pgsize of [8192, 2048, 1 << 21, 3]) t.is(t.dirtyBitmap(container, { ...range, pgsize }), "EINVAL");
			for (const bitmapSize of [0, 4, 7]) t.is(t.dirtyBitmap(container, { ...range, bitmapSize }), "EINVAL");
			for (const argsz of [8, 24, 47]) t.is(t.dirtyBitmap(container, { ...range, argsz }), "EINVAL");
			t.is(t.dirtyBitmap(container, { ...range, bitmapSize: 2 ** 28 + 8 }), "EINVAL");
			t.is(t.dirtyBitmap(container, { ...range, bitmapSize: 16 }), 0);
			t.is(t.dirtyBitmap(container, { ...range, size: 0 }), "EINVAL");
			t.is(t.dirtyBitmap(container, { ...range, size: PAGE + 1 }), "EINVAL");
			t.is(t.dirtyBitmap(container, { ...range, iova: 1n }), "EINVAL");
			t.is(t.dirtyBitmap(container, { ...range, iova: TOP, size: 2 * PAGE }), wraps(t));
		},
	},
	{
		id: "I.3/96",
		name: "a bitmap's range cuts no mapping, and may be wider than all",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 4);
			const bitmap = t.buffer();
			t.is(t.dirty(container, START), 0);
			t.is(t.map(container, { vaddr, iova: 0x4000n, size: 4 * PAGE }), 0);
			t.is(t.dirtyBitmap(container, { iova: 0x4000n, size: 2 * PAGE, bitmap }), "EINVAL");
			t.is(t.dirtyBitmap(container, { iova: 0x6000n, size: 2 * PAGE, bitmap }), "EINVAL");
			t.is(t.dirtyBitmap(container, { iova: 0x5000n, size: PAGE, bitmap }), "EINVAL");
			t.is(t.dirtyBitmap(container, { iova: 0n, size: 5 * PAGE, bitmap }), "EINVAL");
			bitmap.bytes.fill(0xff, 0, 16);
			t.is(t.dirtyBitmap(container, { iova: 0n, size: 16 * PAGE, bitmap }), 0);
			// The kernel works on whole words, and keeps what it finds in the first.
			t.is(hex(bitmap.bytes.subarray(0, 16)), "ffffffffffffffffffffffffffffffff", "the bitmap");
			bitmap.bytes.fill(0, 0, 16);
			t.is(t.dirtyBitmap(container, { iova: 0n, size: 16 * PAGE, bitmap }), 0);
			t.is(hex(bitmap.bytes.subarray(0, 8)), "f0ffffffffffffff", "the bitmap");
			bitmap.bytes.fill(0, 0, 16);
			t.is(t.dirtyBitmap(container, { iova: 0x4000n, size: 16 * PAGE, bitmap }), 0);
			t.is(hex(bitmap.bytes.subarray(0, 16)), "ffffffffffffffff0000000000000000", "the bitmap");
		},
	},
	{
		id: "I.3/96b",
		name: "a bitmap shows mappings where they lie in the range",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 70);
			const bitmap = t.buffer();
			t.is(t.dirty(container, START), 0);
			t.is(t.map(container, { vaddr, iova: 0x4000n, size: 4 * PAGE }), 0);
			t.is(t.map(container, { vaddr, iova: 0x3c000n, size: 70 * PAGE }), 0);
			t.is(t.dirtyBitmap(container, { iova: 0n, size: 256 * PAGE, bitmap, bitmapSize: 32 }), 0);
			t.is(
				hex(bitmap.bytes.subarray(0, 32)),
				"f0000000000000f0ffffffffffffffff0300000000000000".padEnd(64, "0"),
				"the bitmap",
			);
		},
	},
	{
		id: "I.3/97",
		name: "UNMAP reports the dirty pages of what it takes",
		needs: needs(edu),
		run(t) {
			const { container, vaddr } = prepared(t, 3);
			const bits = t.buffer();
			const bitmap = { pgsize: 4096n, size: 8n, data: bits.address };
			t.is(t.map(container, { vaddr, size: 3 * PAGE }), 0);
			t.unmapFails(container, { size: 3 * PAGE, flags: GET_DIRTY, bitmap }, "EINVAL");
			t.is(t.dirty(container, START), 0);
			t.unmapFails(container, { size: 3 * PAGE, flags: GET_DIRTY, bitmap, argsz: 47 }, "EINVAL");
			t.unmapFails(container, { size: 3 * PAGE, flags: GET_DIRTY, bitmap: { ...bitmap, pgsize: 8192n } }, "EINVAL");
			t.unmapFails(container, { size: 3 * PAGE, flags: GET_DIRTY, bitmap: { ...bitmap, size: 4n } }, "EINVAL");
			t.unmaps(container, { size: 3 * PAGE, flags: GET_DIRTY, bitmap }, 3 * PAGE);
			t.is(hex(bits.bytes.subarray(0, 9)), "070000000000000000", "the bitmap");
		},
	},
	{
		id: "I.3/98",
		name: "mappings outlive the container's descriptor, until the group leaves",
		needs: needs(edu),
		async run(t) {
			const { container, group, fd } = t.device(of(edu, t.host));
			const memory = t.buffer();
			const before = t.locked;
			t.is(t.map(container, { vaddr: memory.address, iova: 0x100000n }), 0);
			t.close(container);
			memory.bytes.fill(0x66);
			enableDma(t, fd);
			await eduDma(t, fd, 0x100000, 64, "to device");
			memory.bytes.fill(0);
			await eduDma(t, fd, 0x100000, 64, "to memory");
			t.is(hex(memory.bytes.subarray(0, 4)), "66666666", "memory");
			t.is(t.locked - before, 4, "VmLck");
			t.close(fd);
			t.is(t.unsetContainer(group), 0);
			t.is(t.locked, before, "VmLck");
		},
	},
];
