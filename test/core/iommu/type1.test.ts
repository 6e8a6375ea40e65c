import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { KernelError } from "../../../core/errors.ts";
import type { Type1 } from "../../../core/iommu/type1.ts";
import { EBUSY, EEXIST, EFAULT, EINTR, EINVAL, EIO, ENOMEM, ENOSPC } from "../../../core/uapi/errno.ts";
import {
	VFIO_IOMMU_DIRTY_PAGES,
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_iommu_type1_dma_unmap,
} from "../../../core/uapi/vfio.ts";
import { vfioError } from "../support/error.ts";
import { FakeVfio } from "../support/fake-vfio.ts";

let fake: FakeVfio;
let device: VfioDevice;
let iommu: Type1;
function start(prepare: (fake: FakeVfio) => void = () => {}): void {
	fake = new FakeVfio();
	prepare(fake);
	device = VfioDevice.open(fake.kernel, "05:00.0");
	iommu = device.iommu as Type1;
}
beforeEach(() => start());

const VADDR = 0x7000_0000_0000n;
const map = (iova: bigint, size: bigint) => iommu.map(iova, VADDR, size);
const mapped = () => fake.mapped.map(({ iova }) => iova);

describe("Type1.info()", () => {
	it("reads page sizes and the whole capability chain", () => {
		expect(iommu.info()).toEqual({
			pageSizes: 0x4020_1000n,
			pageSize: 0x1000n,
			iovaRanges: [
				{ start: 0n, end: 0xfedf_ffffn },
				{ start: 0xfef0_0000n, end: 0xffff_ffff_ffffn },
			],
			dmaAvail: 65535,
			dirtyTracking: undefined,
		});
	});
	it("counts mappings off", () => {
		map(0n, 0x1000n);
		expect(iommu.info().dmaAvail).toBe(65534);
	});
	it("has sound answers of a kernel that tells nothing", () => {
		fake.answers.set(VFIO_IOMMU_GET_INFO, () => 0);
		expect(iommu.info()).toMatchObject({ pageSize: 4096n, iovaRanges: undefined, dmaAvail: 65535 });
	});
	it("throws what the kernel says", () => {
		fake.answers.set(VFIO_IOMMU_GET_INFO, EIO);
		expect(vfioError(() => iommu.info())).toMatchObject({ code: "kernel", errno: EIO });
	});
	it("ends with a chain whose size grows with each question", () => {
		let size = 100;
		fake.answers.set(VFIO_IOMMU_GET_INFO, (argument) => {
			size += 100;
			new DataView((argument as Uint8Array).buffer).setUint32(0, size, true);
			return 0;
		});
		expect(iommu.info().dmaAvail).toBe(65535);
	});
});

describe("Type1.map()", () => {
	it("maps readable always, and writable unless told otherwise", () => {
		map(0x1000n, 0x2000n);
		iommu.map(0x8000n, VADDR, 0x1000n, { write: false });
		expect(fake.mapped).toEqual([
			{ iova: 0x1000n, vaddr: VADDR, size: 0x2000n, flags: 3 },
			{ iova: 0x8000n, vaddr: VADDR, size: 0x1000n, flags: 1 },
		]);
		expect([...iommu.mappings].map(({ start, size, vaddr }) => [start, size, vaddr])).toEqual([
			[0x1000n, 0x2000n, VADDR],
			[0x8000n, 0x1000n, VADDR],
		]);
	});
	it("replaces mappings that it covers whole", () => {
		const old = map(0x1000n, 0x1000n);
		map(0x2000n, 0x1000n);
		map(0n, 0x4000n);
		expect(fake.mapped.map(({ iova, size }) => [iova, size])).toEqual([[0n, 0x4000n]]);
		old[Symbol.dispose](); // and the old one no longer unmaps anything
		expect(mapped()).toEqual([0n]);
	});
	it("refuses to cut a mapping, and leaves everything as it is", () => {
		map(0x1000n, 0x2000n);
		const error = vfioError(() => map(0x2000n, 0x2000n));
		expect(error.code).toBe("overlapping-memory");
		expect(error.message).toContain("0x1000-0x2fff");
		expect(mapped()).toEqual([0x1000n]);
	});
	it.each([EBUSY, EEXIST])("Z-9 on errno %i unmaps the same range and tries once more", (errno) => {
		let calls = 0;
		fake.answers.set(VFIO_IOMMU_MAP_DMA, () => {
			if (++calls === 1) throw new KernelError(errno, "MAP_DMA", "fake");
			return 0;
		});
		map(0x1000n, 0x1000n);
		expect(calls).toBe(2);
		expect(fake.unmaps).toEqual([{ iova: 0x1000n, size: 0x1000n, flags: 0 }]);
		fake.answers.set(VFIO_IOMMU_MAP_DMA, errno);
		expect(vfioError(() => map(0x8000n, 0x1000n)).code).toBe("mapping-failed");
	});
	it("tries again when a signal interrupts it", () => {
		let left = 2;
		fake.answers.set(VFIO_IOMMU_MAP_DMA, () => {
			if (left-- > 0) throw new KernelError(EINTR, "MAP_DMA", "fake");
			return 0;
		});
		map(0n, 0x1000n);
		expect(iommu.mappingCount).toBe(1);
	});
	it.each([
		[ENOSPC, "dma-entries-exhausted", "the kernel allows 0 more"],
		[EFAULT, "mapping-failed", "0x700000000000"],
		[EIO, "mapping-failed", "EIO"],
		[ENOMEM, "memlock-too-low", "4096 bytes of locked memory"],
	] as const)("explains errno %i", (errno, code, text) => {
		fake.answers.set(VFIO_IOMMU_MAP_DMA, errno);
		const error = vfioError(() => map(0n, 0x1000n));
		expect([error.code, error.errno]).toEqual([code, errno]);
		expect(error.message).toContain(text);
		expect(iommu.mappingCount).toBe(0);
	});
	it("explains EINVAL by the ranges, by the pages, or not at all", () => {
		expect(vfioError(() => map(0xfee0_0000n, 0x1000n)).code).toBe("iova-out-of-range");
		fake.answers.set(VFIO_IOMMU_MAP_DMA, EINVAL);
		expect(vfioError(() => map(0x100n, 0x1000n)).message).toContain("pages of 4096 bytes");
		expect(vfioError(() => map(0x1000n, 0x1000n)).message).toContain("EINVAL");
	});
});

describe("Type1.unmap()", () => {
	it("unmaps whole mappings, holes included, and says how many bytes", () => {
		map(0x1000n, 0x1000n);
		map(0x4000n, 0x2000n);
		map(0x8000n, 0x1000n);
		expect(iommu.unmap(0n, 0x8000n)).toBe(0x3000n);
		expect(mapped()).toEqual([0x8000n]);
		expect(fake.unmaps).toHaveLength(1);
	});
	it("does not ask the kernel about a stretch where nothing is", () => {
		expect(iommu.unmap(0n, 0x1000n)).toBe(0n);
		expect(fake.unmaps).toEqual([]);
	});
	it("refuses to cut a mapping", () => {
		map(0x1000n, 0x2000n);
		expect(vfioError(() => iommu.unmap(0x2000n, 0x1000n)).code).toBe("invalid-argument");
		expect(vfioError(() => iommu.unmap(0n, 0x2000n)).code).toBe("invalid-argument");
	});
	it("keeps its record when the kernel refuses", () => {
		map(0x1000n, 0x2000n);
		fake.answers.set(VFIO_IOMMU_UNMAP_DMA, EIO);
		expect(vfioError(() => iommu.unmap(0x1000n, 0x2000n))).toMatchObject({ code: "kernel", errno: EIO });
		expect(iommu.mappingCount).toBe(1);
	});
	it("a mapping's own dispose unmaps it, once", () => {
		const mapping = map(0x1000n, 0x2000n);
		mapping[Symbol.dispose]();
		mapping[Symbol.dispose]();
		expect(fake.unmaps).toEqual([{ iova: 0x1000n, size: 0x2000n, flags: 0 }]);
	});
});

describe("Type1.unmapAll()", () => {
	const high = 1n << 63n;
	beforeEach(() => {
		fake.iovaRanges = undefined;
	});
	it("uses the flag where the kernel has it, for a span of 2^64 as well", () => {
		map(0x1000n, 0x1000n);
		map(high, 0x1000n);
		expect(iommu.unmap(0n, 1n << 64n)).toBe(0x2000n);
		expect(fake.unmaps).toEqual([{ iova: 0n, size: 0n, flags: 2 }]);
		expect(iommu.unmapAll()).toBe(0n);
	});
	it("unmaps two halves on a kernel without the flag", () => {
		start((one) => {
			one.extensions.delete(9);
			one.iovaRanges = undefined;
		});
		map(0x1000n, 0x1000n);
		map(high, 0x1000n);
		expect(iommu.unmapAll()).toBe(0x2000n);
		expect(fake.unmaps).toEqual([
			{ iova: 0n, size: high, flags: 0 },
			{ iova: high, size: high, flags: 0 },
		]);
	});
	it("DMA-03 leaves the last page out on a kernel that takes 2^64 for a wrap", () => {
		start((one) => {
			one.extensions.delete(9);
			one.iovaRanges = undefined;
		});
		map(high, 0x1000n);
		const sizes: bigint[] = [];
		fake.answers.set(VFIO_IOMMU_UNMAP_DMA, (argument) => {
			const { iova, size } = vfio_iommu_type1_dma_unmap.view(argument as Uint8Array);
			sizes.push(size);
			if (iova + size === 1n << 64n) throw new KernelError(EINVAL, "UNMAP_DMA", "fake");
			return undefined as unknown as number;
		});
		expect(iommu.unmapAll()).toBe(0x1000n);
		expect(sizes).toEqual([high, high - 0x1000n]);
	});
	it("cuts no mapping between the halves, and asks for no empty half", () => {
		start((one) => {
			one.extensions.delete(9);
			one.iovaRanges = undefined;
		});
		map(high - 0x1000n, 0x3000n);
		expect(iommu.unmapAll()).toBe(0x3000n);
		expect(fake.unmaps).toEqual([{ iova: 0n, size: high + 0x2000n, flags: 0 }]);
	});
});

describe("Type1 life", () => {
	it("L-05 unmaps everything before the last group leaves the container", () => {
		map(0x1000n, 0x1000n);
		device[Symbol.dispose]();
		const log = fake.kernel.log.filter((line) => /unmap|unset/.test(line));
		expect(log).toEqual(["unmap 1000", "unset container"]);
		expect(vfioError(() => map(0n, 0x1000n)).code).toBe("disposed");
		expect(vfioError(() => iommu.info()).code).toBe("disposed");
	});
	it("HOT-11 lets the group go even when unmapping fails", () => {
		map(0x1000n, 0x1000n);
		fake.answers.set(VFIO_IOMMU_UNMAP_DMA, EIO);
		expect(vfioError(() => device[Symbol.dispose]()).code).toBe("kernel");
		expect(fake.leaks).toEqual([]);
	});
});

describe("DirtyTracking", () => {
	/** A kernel whose info has the migration capability, and which records the requests. */
	function tracking(maxBitmapSize = 0x1000_0000n): { flags: number; words: bigint[] }[] {
		const requests: { flags: number; words: bigint[] }[] = [];
		fake.answers.set(VFIO_IOMMU_GET_INFO, (argument) => {
			const bytes = argument as Uint8Array;
			const view = new DataView(bytes.buffer);
			view.setUint32(0, 56, true);
			view.setUint32(4, 3, true);
			view.setBigUint64(8, 0x1000n, true);
			if (bytes.length < 56) return 0;
			view.setUint32(16, 24, true);
			view.setUint16(24, 2, true);
			view.setBigUint64(40, 0x1000n, true);
			view.setBigUint64(48, maxBitmapSize, true);
			return 0;
		});
		const record = (argument: Uint8Array | number) => {
			const view = new DataView((argument as Uint8Array).buffer);
			const words = [];
			for (let at = 8; at < view.byteLength; at += 8) words.push(view.getBigUint64(at, true));
			requests.push({ flags: view.getUint32(4, true), words });
			return 0;
		};
		fake.answers.set(VFIO_IOMMU_DIRTY_PAGES, record);
		fake.answers.set(VFIO_IOMMU_UNMAP_DMA, record);
		return requests;
	}
	it("starts, reads a bitmap of whole words, and stops", () => {
		const requests = tracking();
		iommu.dirty.start();
		expect(iommu.dirty.bitmap(0x10000n, 65n * 4096n)).toHaveLength(16);
		iommu.dirty.stop();
		expect(requests.map(({ flags }) => flags)).toEqual([1, 4, 2]);
		const [iova, size, pageSize, bitmapSize, address] = requests[1]?.words ?? [];
		expect([iova, size, pageSize, bitmapSize]).toEqual([0x10000n, 65n * 4096n, 4096n, 16n]);
		expect(address).toBeGreaterThan(0n);
	});
	it("unmaps and reads in one, and forgets the mapping", () => {
		map(0x1000n, 0x2000n);
		const requests = tracking();
		expect(iommu.dirty.unmap(0x1000n, 0x2000n)).toHaveLength(8);
		expect(requests[0]).toMatchObject({ flags: 1 });
		expect(requests[0]?.words.slice(0, 4)).toEqual([0x1000n, 0x2000n, 4096n, 8n]);
		expect(iommu.mappingCount).toBe(0);
	});
	it("refuses a bitmap that is larger than the kernel takes, or empty", () => {
		tracking(8n);
		expect(vfioError(() => iommu.dirty.bitmap(0n, 65n * 4096n)).code).toBe("invalid-argument");
		expect(vfioError(() => iommu.dirty.bitmap(0n, 0n)).code).toBe("invalid-argument");
	});
	it("says that a kernel has no tracking", () => {
		expect(vfioError(() => iommu.dirty.start()).code).toBe("unsupported-iommu");
	});
	it("throws what the kernel says", () => {
		tracking();
		fake.answers.set(VFIO_IOMMU_DIRTY_PAGES, EINVAL);
		expect(vfioError(() => iommu.dirty.start()).message).toContain("Cannot start tracking dirty pages");
		expect(vfioError(() => iommu.dirty.bitmap(0n, 4096n)).message).toContain("Cannot read dirty pages");
	});
	it("frees its buffer with the IOMMU", () => {
		tracking();
		iommu.dirty.bitmap(0n, 4096n);
		device[Symbol.dispose]();
		expect(fake.kernel.log.filter((line) => line === "free")).toHaveLength(1);
	});
});
