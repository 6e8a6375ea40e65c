import { describe, expect, it } from "vitest";
import { VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU, VFIO_TYPE1_IOMMU } from "../../../core/uapi/vfio.ts";
import { attach, boot, deviceFd, iommuInfo, map, NVME, openContainer, outcome, unmap } from "../linux/support.ts";
import { NOTHING } from "./support.ts";

describe("a kernel whose containers are iommufd's", () => {
	it("has iommufd's answers on /dev/vfio/vfio, and charges the process", () => {
		const linux = boot({ containers: "iommufd" });
		const kernel = linux.process({ memlock: 4096, capabilities: ["CAP_DAC_OVERRIDE"] });
		expect(outcome(() => kernel.ioctl(openContainer(kernel), VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU))).toBe("ENODEV");
		const { container, group } = attach(kernel);
		const device = deviceFd(kernel, group, NVME);
		using memory = kernel.allocate(8192);
		const request = { vaddr: memory.address, iova: 0n, size: 8192n };
		expect(outcome(() => map(kernel, container, request))).toBe("ENOMEM");
		map(kernel, container, { ...request, size: 4096n });
		expect(kernel.lockedPages).toBe(1);
		expect(iommuInfo(kernel, container).capabilities.map(({ id }) => id)).toEqual([3, 1]);
		expect(unmap(kernel, container, { iova: 0n, size: 0x10000n })).toBe(4096n);
		kernel.exit();
		memory[Symbol.dispose]();
		expect(device).toBeGreaterThan(0);
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("cuts a mapping of version 1 where a page ends, also when its memory has no address any more", () => {
		const linux = boot({ containers: "iommufd" });
		const kernel = linux.process();
		const { container, group } = attach(kernel, NVME, VFIO_TYPE1_IOMMU);
		deviceFd(kernel, group, NVME);
		const memory = kernel.allocate(0x3000);
		map(kernel, container, { vaddr: memory.address, iova: 0x10000n, size: 0x3000n });
		expect(linux.leaks().pinnedPages).toBe(3);
		expect(outcome(() => unmap(kernel, container, { iova: 0x10000n, size: 0x800n }))).toBe("EINVAL");
		expect(outcome(() => unmap(kernel, container, { iova: 0x10800n, size: 0x800n }))).toBe("EINVAL");
		// What begins one byte behind the first is not cut there, and so not whole.
		expect(outcome(() => unmap(kernel, container, { iova: 0x10001n, size: 0xfffn }))).toBe("ENOENT");
		memory[Symbol.dispose]();
		expect(unmap(kernel, container, { iova: 0x11000n, size: 0x1000n })).toBe(0x1000n);
		expect(linux.leaks().pinnedPages).toBe(2);
		expect(unmap(kernel, container, { iova: 0x10000n, size: 0x3000n })).toBe(0x2000n);
		expect(linux.leaks().pinnedPages).toBe(0);
		kernel.exit();
		expect(linux.leaks()).toEqual(NOTHING);
	});
});
