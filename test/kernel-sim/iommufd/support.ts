/** What the tests of iommufd share: a device on vfio-pci, and the requests of /dev/iommu and of character devices. */
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import * as uapi from "../../../core/uapi/iommufd.ts";
import type { Fields, Struct, StructView } from "../../../core/uapi/struct.ts";
import * as vfio from "../../../core/uapi/vfio.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";
import { bind, driverOf, sysfs } from "../linux/support.ts";

/** Nothing is left over. */
export const NOTHING = {
	openFiles: 0,
	mappings: 0,
	dmaMappings: 0,
	pinnedPages: 0,
	iommufdObjects: 0,
	eventfds: 0,
	watches: 0,
	timers: 0,
	memory: 0,
	virtualMachines: 0,
};

export const FIXED = uapi.IOMMU_IOAS_MAP_FIXED_IOVA;
export const RW = uapi.IOMMU_IOAS_MAP_READABLE | uapi.IOMMU_IOAS_MAP_WRITEABLE;
/** Where the config space is in a device's file. */
export const CONFIG = 7 * 2 ** 40;

/** A request of /dev/iommu: its structure with the size filled in and these fields. @returns the structure afterwards */
export function request<F extends Fields>(
	kernel: SimProcess,
	fd: number,
	number: number,
	layout: Struct<F>,
	fields: Partial<StructView<F>>,
): StructView<F> {
	const view = layout.create();
	Object.assign(view, { size: layout.size, ...fields });
	kernel.ioctl(fd, number, view.bytes);
	return view;
}

export function openIommu(kernel: SimProcess): number {
	return kernel.open("/dev/iommu", O_RDWR);
}

/** IOMMU_IOAS_ALLOC. @returns the number */
export function ioasAlloc(kernel: SimProcess, iommu: number): number {
	return request(kernel, iommu, uapi.IOMMU_IOAS_ALLOC, uapi.iommu_ioas_alloc, {}).out_ioas_id;
}

/** IOMMU_IOAS_MAP, fixed when an address is given. @returns where */
export function ioasMap(
	kernel: SimProcess,
	iommu: number,
	ioas: number,
	mapping: { user_va: bigint; length?: bigint; iova?: bigint; flags?: number },
): bigint {
	const { user_va, length = 4096n, iova, flags = RW | (iova === undefined ? 0 : FIXED) } = mapping;
	const fields = { flags, ioas_id: ioas, user_va, length, iova: iova ?? 0n };
	return request(kernel, iommu, uapi.IOMMU_IOAS_MAP, uapi.iommu_ioas_map, fields).iova;
}

/** IOMMU_IOAS_UNMAP. @returns the bytes */
export function ioasUnmap(kernel: SimProcess, iommu: number, ioas: number, iova: bigint, length = 4096n): bigint {
	return request(kernel, iommu, uapi.IOMMU_IOAS_UNMAP, uapi.iommu_ioas_unmap, { ioas_id: ioas, iova, length }).length;
}

/** IOMMU_IOAS_IOVA_RANGES. */
export function iovaRanges(kernel: SimProcess, iommu: number, ioas: number) {
	using memory = kernel.allocate(4096);
	const { num_iovas, out_iova_alignment: alignment } = request(
		kernel,
		iommu,
		uapi.IOMMU_IOAS_IOVA_RANGES,
		uapi.iommu_ioas_iova_ranges,
		{ ioas_id: ioas, num_iovas: 16, allowed_iovas: memory.address },
	);
	const ranges = Array.from({ length: num_iovas }, (_, index) => {
		const { start, last } = uapi.iommu_iova_range.view(memory.bytes, index * 16);
		return [start, last];
	});
	return { ranges, alignment };
}

export function destroy(kernel: SimProcess, iommu: number, id: number): void {
	request(kernel, iommu, uapi.IOMMU_DESTROY, uapi.iommu_destroy, { id });
}

/** The name of a device's character device, such as `vfio0`. */
export function cdevName(kernel: SimProcess, address: string): string {
	return kernel.readDirectory(sysfs(address, "vfio-dev"))[0] ?? "";
}

/** Opens a device's character device; vfio-pci gets the device before. */
export function openCdev(kernel: SimProcess, address: string): number {
	if (driverOf(kernel, address) !== "vfio-pci") bind(kernel, address);
	return kernel.open(`/dev/vfio/devices/${cdevName(kernel, address)}`, O_RDWR);
}

/** VFIO_DEVICE_BIND_IOMMUFD. @returns the device's number */
export function bindIommufd(kernel: SimProcess, cdev: number, iommu: number): number {
	const view = vfio.vfio_device_bind_iommufd.create();
	Object.assign(view, { argsz: 16, iommufd: iommu });
	kernel.ioctl(cdev, vfio.VFIO_DEVICE_BIND_IOMMUFD, view.bytes);
	return view.out_devid;
}

/** VFIO_DEVICE_ATTACH_IOMMUFD_PT. @returns the number it is attached to */
export function attachPt(kernel: SimProcess, cdev: number, id: number): number {
	const view = vfio.vfio_device_attach_iommufd_pt.create();
	Object.assign(view, { argsz: 12, pt_id: id });
	kernel.ioctl(cdev, vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, view.bytes);
	return view.pt_id;
}

export function detachPt(kernel: SimProcess, cdev: number): void {
	const view = vfio.vfio_device_detach_iommufd_pt.create();
	view.argsz = 8;
	kernel.ioctl(cdev, vfio.VFIO_DEVICE_DETACH_IOMMUFD_PT, view.bytes);
}
