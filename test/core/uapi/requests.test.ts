import { describe, expect, it } from "vitest";
import {
	IOMMU_IOAS_MAP,
	IOMMU_IOAS_MAP_FIXED_IOVA,
	IOMMU_IOAS_MAP_READABLE,
	iommu_ioas_map,
} from "../../../core/uapi/iommufd.ts";
import { describeArgument, requestName, vfioFileKind } from "../../../core/uapi/requests.ts";
import {
	VFIO_DEVICE_BIND_IOMMUFD,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA,
	vfio_device_bind_iommufd,
} from "../../../core/uapi/vfio.ts";

describe("vfioFileKind()", () => {
	it.each([
		["/dev/iommu", "iommufd"],
		["/dev/vfio/vfio", "container"],
		["/dev/vfio/12", "group"],
		["/dev/vfio/noiommu-0", "group"],
		["/dev/vfio/devices/vfio0", "device"],
		["anon_inode:[vfio-device]", "device"],
	] as const)("knows %s as %s", (path, kind) => {
		expect(vfioFileKind(path)).toBe(kind);
	});
});

describe("requestName()", () => {
	it("names iommufd's requests, and a container's on /dev/iommu", () => {
		expect(requestName(IOMMU_IOAS_MAP, "iommufd")).toBe("IOMMU_IOAS_MAP");
		expect(requestName(VFIO_IOMMU_MAP_DMA, "iommufd")).toBe("VFIO_IOMMU_MAP_DMA");
		expect(requestName(VFIO_IOMMU_UNMAP_DMA, "iommufd")).toBe("VFIO_IOMMU_UNMAP_DMA");
		expect(requestName(IOMMU_IOAS_MAP, "container")).toBe("ioctl 0x3b85");
	});
});

describe("describeArgument()", () => {
	it("says iommufd's structures in words", () => {
		const map = iommu_ioas_map.create();
		Object.assign(map, { size: 40, flags: IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE, ioas_id: 2 });
		Object.assign(map, { user_va: 0x7000n, length: 4096n, iova: 0x10000n });
		expect(describeArgument(IOMMU_IOAS_MAP, "iommufd", map.bytes)).toBe(
			"{size: 40, flags: FIXED_IOVA|READABLE, ioas_id: 2, __reserved: 0, user_va: 0x7000, length: 0x1000, iova: 0x10000}",
		);
	});

	it("says what a device is bound to", () => {
		const bind = vfio_device_bind_iommufd.create();
		Object.assign(bind, { argsz: 16, iommufd: 5 });
		expect(describeArgument(VFIO_DEVICE_BIND_IOMMUFD, "device", bind.bytes)).toBe(
			"{argsz: 16, flags: 0, iommufd: 5, out_devid: 0, token_uuid_ptr: 0x0}",
		);
	});
});
