import * as vfio from "../../../core/uapi/vfio.ts";
import { answer, numberOf } from "../calls.ts";
import type { Case } from "../case.ts";
import { edu, needs, nvme, of } from "../roles.ts";
import { capabilities, PAGE } from "../trial.ts";

const CAP_OFFSET = vfio.vfio_iommu_type1_info.offsets.cap_offset;
/** Bytes that no call of these cases writes. */
const UNTOUCHED = 0xa5;

/** I.1: the container. */
export const containerCases: readonly Case[] = [
	{
		id: "I.1/1",
		name: "the API version is 0",
		run(t) {
			t.is(t.ioctl(t.container(), vfio.VFIO_GET_API_VERSION), vfio.VFIO_API_VERSION);
		},
	},
	{
		id: "I.1/2",
		name: "a fresh container has type 1, type 1 v2 and UNMAP_ALL",
		run(t) {
			const c = t.container();
			for (const extension of [vfio.VFIO_TYPE1_IOMMU, vfio.VFIO_TYPE1v2_IOMMU, vfio.VFIO_UNMAP_ALL])
				t.is(t.extension(c, extension), 1);
		},
	},
	{
		id: "I.1/3",
		name: "a fresh container has no other extension",
		run(t) {
			const c = t.container();
			for (const extension of [0, 2, 4, 5, 7, 8, 10, 11, 99, 999, -1]) t.is(t.extension(c, extension), 0);
			t.is(t.extension(c, vfio.VFIO_TYPE1_NESTING_IOMMU), t.by({ "6.12": 1, "7.2": 0 }));
		},
	},
	{
		id: "I.1/4",
		name: "SET_IOMMU needs a group",
		run(t) {
			const c = t.container();
			for (const type of [3, 1, 0, 6, 8, 99]) t.is(t.setIommu(c, type), "EINVAL");
		},
	},
	{
		id: "I.1/5",
		name: "requests of the IOMMU need SET_IOMMU, valid or not",
		run(t) {
			const c = t.container();
			t.is(t.iommuInfo(c, 24).answer, "EINVAL");
			t.is(t.map(c, { vaddr: t.buffer().address }), "EINVAL");
			t.is(t.unmap(c, {}).answer, "EINVAL");
			t.is(t.dirty(c, vfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_START), "EINVAL");
		},
	},
	{
		id: "I.1/6",
		name: "an unknown request is EINVAL before SET_IOMMU and ENOTTY after",
		needs: needs(edu),
		run(t) {
			t.is(t.ioctl(t.container(), 0x3b7f), "EINVAL");
			const { container } = t.attach(of(edu, t.host));
			for (const request of [0x3b7f, 0x3b73, 0x3b74, 0x3b67, 0x3b6f, 0x5401, 0x3b81])
				t.is(t.ioctl(container, request), "ENOTTY");
		},
	},
	{
		id: "I.1/7",
		name: "SET_IOMMU of an unknown type is ENODEV, and another may follow",
		needs: needs(edu),
		run(t) {
			const c = t.container();
			t.is(t.setContainer(t.group(of(edu, t.host)), c), 0);
			for (const type of [99, 0, 2, 5, 7, 8, 4, 10, -1]) t.is(t.setIommu(c, type), "ENODEV");
			// An extension of the IOMMU that is no type of it.
			t.is(t.setIommu(c, vfio.VFIO_UNMAP_ALL), "EINVAL");
			t.is(t.setIommu(c), 0);
		},
	},
	{
		id: "I.1/8",
		name: "the nesting type is reserved",
		needs: needs(edu),
		run(t) {
			const c = t.container();
			t.is(t.setContainer(t.group(of(edu, t.host)), c), 0);
			t.is(t.setIommu(c, vfio.VFIO_TYPE1_NESTING_IOMMU), t.by({ "6.12": "EINVAL", "7.2": "ENODEV" }));
		},
	},
	{
		id: "I.1/9",
		name: "SET_IOMMU works once",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			for (const type of [3, 1, 6, 99]) t.is(t.setIommu(container, type), "EINVAL");
		},
	},
	{
		id: "I.1/10",
		name: "extensions of a type 1 IOMMU",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			for (const extension of [1, 3, 9, 10]) t.is(t.extension(container, extension), 1);
			t.is(t.extension(container, 6), t.by({ "6.12": 1, "7.2": 0 }));
			for (const extension of [0, 2, 5, 7, 8, 11, 99]) t.is(t.extension(container, extension), 0);
			t.holds([0, 1].includes(t.extension(container, vfio.VFIO_DMA_CC_IOMMU) as number), "DMA_CC is neither 0 nor 1");
		},
	},
	{
		id: "I.1/11",
		name: "without interrupt remapping SET_IOMMU needs allow_unsafe_interrupts",
		needs: () => "the host remaps interrupts",
		run() {},
	},
	{
		id: "I.1/12",
		name: "GET_INFO with 15 bytes is EINVAL; with 16 it writes no more, and says how many there are",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			for (const argsz of [0, 4, 8, 12, 15]) t.is(t.iommuInfo(container, argsz, 32).answer, "EINVAL");
			const { answer, bytes } = t.iommuInfo(container, 16, 32);
			t.is(answer, 0);
			t.is(numberOf(bytes.subarray(4, 8)), 3);
			t.holds(numberOf(bytes.subarray(0, 4)) > 24, "argsz is not raised to the whole");
			t.is([...new Set(bytes.subarray(16))], [UNTOUCHED]);
		},
	},
	{
		id: "I.1/13",
		name: "GET_INFO with room for the structure alone gives no chain",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			for (const argsz of [17, 20, 23, 24, 25, 64, 119]) {
				const { answer, bytes } = t.iommuInfo(container, argsz, 160);
				t.is(answer, 0);
				t.holds(numberOf(bytes.subarray(0, 4)) > argsz, "argsz is not raised");
				if (argsz >= 24) t.is(numberOf(bytes.subarray(CAP_OFFSET, CAP_OFFSET + 4)), 0);
				t.is([...new Set(bytes.subarray(Math.max(argsz, 16) > 24 ? 24 : argsz))], [UNTOUCHED]);
			}
		},
	},
	{
		id: "I.1/14",
		name: "GET_INFO's chain is migration, entries left, IOVA ranges",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			const { answer, bytes } = t.iommuInfo(container, 256);
			t.is(answer, 0);
			const chain = capabilities(bytes, CAP_OFFSET);
			t.is(
				chain.map((one) => one.id),
				[2, 3, 1],
			);
			t.is(
				chain.map((one) => one.version),
				[1, 1, 1],
			);
			t.is(
				chain.map((one) => one.at % 8),
				[0, 0, 0],
			);
			t.is(chain[0]?.at, 24);
			t.is(chain.at(-1)?.next, 0);
			// The exact room is enough too.
			t.is(numberOf(bytes.subarray(0, 4)), 256);
			const need = numberOf(t.iommuInfo(container, 24).bytes.subarray(0, 4));
			const exact = t.iommuInfo(container, need);
			t.is(numberOf(exact.bytes.subarray(CAP_OFFSET, CAP_OFFSET + 4)), 24);
		},
	},
	{
		id: "I.1/15",
		name: "the page sizes begin with 4 KiB",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			const sizes = new DataView(t.iommuInfo(container, 24).bytes.buffer).getBigUint64(8, true);
			t.is(sizes & 0x1fffn, 0x1000n);
		},
	},
	{
		id: "I.1/16",
		name: "the IOVA ranges leave out the message window",
		needs: needs(edu),
		run(t) {
			const ranges = t.iovaRanges(t.attach(of(edu, t.host)).container);
			t.holds(ranges.length > 0, "there are no ranges");
			t.holds(
				ranges.every(([first, last]) => last < 0xfee00000n || first > 0xfeefffffn),
				"a range touches the window",
			);
			t.is(ranges[0]?.[0], 0n);
		},
	},
	{
		id: "I.1/17",
		name: "each mapping takes an entry",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			const { address } = t.buffer();
			const before = t.available(container);
			t.is(before, Number(t.text("/sys/module/vfio_iommu_type1/parameters/dma_entry_limit")));
			for (const page of [0n, 2n, 9n]) t.is(t.map(container, { vaddr: address, iova: page << 12n }), 0);
			t.is(t.available(container), before - 3);
			t.unmaps(container, { size: 0, flags: vfio.VFIO_DMA_UNMAP_FLAG_ALL }, 3 * PAGE);
			t.is(t.available(container), before);
		},
	},
	{
		id: "I.1/18",
		name: "GET_INFO of a null pointer is EFAULT",
		needs: needs(edu),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			for (const request of [
				vfio.VFIO_IOMMU_GET_INFO,
				vfio.VFIO_IOMMU_MAP_DMA,
				vfio.VFIO_IOMMU_UNMAP_DMA,
				vfio.VFIO_IOMMU_DIRTY_PAGES,
			])
				t.is(t.ioctl(container, request, 0), "EFAULT");
		},
	},
	{
		id: "I.1/19",
		name: "a container is neither read nor written",
		run(t) {
			const c = t.container();
			const { kernel } = t.target;
			for (const call of [() => kernel.read(c, new Uint8Array(8)), () => kernel.write(c, new Uint8Array(8))])
				t.is(answer(call), "EINVAL");
			t.is(t.pread(c, 0, 0, 4), "EINVAL");
			t.is(t.mmap(c, 0, 0, PAGE), "ENODEV");
		},
	},
	{
		id: "I.1/20",
		name: "two groups share a container",
		needs: needs(edu, nvme),
		run(t) {
			const { container } = t.attach(of(edu, t.host));
			const ranges = t.iovaRanges(container);
			const second = of(nvme, t.host);
			const g = t.group(second);
			t.is(t.setContainer(g, container), 0);
			t.is(String(t.iovaRanges(container)), String(ranges));
			for (const device of [second]) t.holds(typeof t.deviceFd(g, device.name) === "number", "no device");
			t.is(t.setIommu(container), "EINVAL");
		},
	},
];
