/** What the tests of the simulated Linux share: a booted kernel, and the calls a VFIO program makes. */
import { KernelError } from "../../../core/errors.ts";
import { errnoName } from "../../../core/uapi/errno.ts";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_DMA_MAP_FLAG_READ,
	VFIO_DMA_MAP_FLAG_WRITE,
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_GROUP_GET_STATUS,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	VFIO_IOMMU_GET_INFO,
	VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
	VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
	VFIO_IOMMU_UNMAP_DMA,
	VFIO_SET_IOMMU,
	VFIO_TYPE1v2_IOMMU,
	vfio_group_status,
	vfio_info_cap_header,
	vfio_iommu_type1_dma_map,
	vfio_iommu_type1_dma_unmap,
	vfio_iommu_type1_info,
	vfio_iova_range,
} from "../../../core/uapi/vfio.ts";
import { Host, type ReferenceHostOptions } from "../../../kernel-sim/host.ts";
import { SimulatedLinux } from "../../../kernel-sim/linux/linux.ts";
import type { LinuxOptions } from "../../../kernel-sim/linux/linux-options.ts";
import type { SimProcess } from "../../../kernel-sim/linux/process.ts";

/** Devices of the reference host. */
export const NVME = "0000:05:00.0";
export const EDU = "0000:01:00.0";
export const SHARED_EDU = "0000:00:12.0";
export const SHARED_MEMORY = "0000:00:12.1";
export const ROOT_PORT = "0000:00:08.4";
export const PAGE = 4096n;
export const READ_WRITE = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

/** A simulated Linux on the reference host. */
export function boot(options: Partial<LinuxOptions> & { machine?: ReferenceHostOptions } = {}): SimulatedLinux {
	const { machine, ...rest } = options;
	return new SimulatedLinux({ host: Host.reference(machine), ...rest });
}

/** What a call returns, or the name of its errno. */
export function outcome<T>(call: () => T): T | string {
	try {
		return call();
	} catch (error) {
		if (error instanceof KernelError) return errnoName(error.errno);
		throw error;
	}
}

export function text(kernel: SimProcess, path: string): string {
	return String.fromCharCode(...kernel.readFile(path));
}

export function sysfs(address: string, file: string): string {
	return `/sys/bus/pci/devices/${address}/${file}`;
}

export function driverFile(driver: string, file: string): string {
	return `/sys/bus/pci/drivers/${driver}/${file}`;
}

/** The driver that has a device. */
export function driverOf(kernel: SimProcess, address: string): string | undefined {
	const link = outcome(() => kernel.readLink(sysfs(address, "driver")));
	return link === "ENOENT" ? undefined : link.split("/").at(-1);
}

/** Unbinds a device from whatever has it and binds it to a driver. */
export function bind(kernel: SimProcess, address: string, driver = "vfio-pci"): void {
	const bound = driverOf(kernel, address);
	if (bound) kernel.writeFile(driverFile(bound, "unbind"), address);
	kernel.writeFile(sysfs(address, "driver_override"), driver);
	kernel.writeFile(driverFile(driver, "bind"), address);
}

export function groupOf(kernel: SimProcess, address: string): string {
	return kernel.readLink(sysfs(address, "iommu_group")).split("/").at(-1) ?? "";
}

export function openGroup(kernel: SimProcess, address: string): number {
	return kernel.open(`/dev/vfio/${groupOf(kernel, address)}`, O_RDWR);
}

export function openContainer(kernel: SimProcess): number {
	return kernel.open("/dev/vfio/vfio", O_RDWR);
}

/** The argument of VFIO_GROUP_SET_CONTAINER. */
export function int32(value: number): Uint8Array {
	const bytes = new Uint8Array(4);
	new DataView(bytes.buffer).setInt32(0, value, true);
	return bytes;
}

/** A C string. */
export function cString(value: string): Uint8Array {
	return Uint8Array.from([...value].map((character) => character.charCodeAt(0)).concat(0));
}

export function setContainer(kernel: SimProcess, group: number, container: number): number {
	return kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, int32(container));
}

export function unsetContainer(kernel: SimProcess, group: number): number {
	return kernel.ioctl(group, VFIO_GROUP_UNSET_CONTAINER);
}

export function setIommu(kernel: SimProcess, container: number, type = VFIO_TYPE1v2_IOMMU): number {
	return kernel.ioctl(container, VFIO_SET_IOMMU, type);
}

export function deviceFd(kernel: SimProcess, group: number, name: string): number {
	return kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, cString(name));
}

/** Flags of VFIO_GROUP_GET_STATUS. */
export function groupFlags(kernel: SimProcess, group: number): number {
	const status = vfio_group_status.create();
	status.argsz = vfio_group_status.size;
	kernel.ioctl(group, VFIO_GROUP_GET_STATUS, status.bytes);
	return status.flags;
}

/** A device that vfio-pci has, its group in a container with an IOMMU: "G" and "C" of the contract. */
export function attach(
	kernel: SimProcess,
	address = NVME,
	type = VFIO_TYPE1v2_IOMMU,
): { container: number; group: number } {
	if (driverOf(kernel, address) !== "vfio-pci") bind(kernel, address);
	const container = openContainer(kernel);
	const group = openGroup(kernel, address);
	setContainer(kernel, group, container);
	setIommu(kernel, container, type);
	return { container, group };
}

/** Fields of VFIO_IOMMU_MAP_DMA; what is left out is usual. */
export interface MapRequest {
	argsz?: number;
	flags?: number;
	vaddr: bigint;
	iova: bigint;
	size: bigint;
}

export function map(kernel: SimProcess, container: number, request: MapRequest): number {
	const argument = vfio_iommu_type1_dma_map.create();
	Object.assign(argument, { argsz: vfio_iommu_type1_dma_map.size, flags: READ_WRITE, ...request });
	return kernel.ioctl(container, VFIO_IOMMU_MAP_DMA, argument.bytes);
}

/** Fields of VFIO_IOMMU_UNMAP_DMA. */
export interface UnmapRequest {
	argsz?: number;
	flags?: number;
	iova?: bigint;
	size?: bigint;
}

/** @returns the size that came back; also when the call failed, in `onError` */
export function unmap(
	kernel: SimProcess,
	container: number,
	request: UnmapRequest,
	onError?: (size: bigint) => void,
): bigint {
	const argument = vfio_iommu_type1_dma_unmap.create();
	Object.assign(argument, { argsz: vfio_iommu_type1_dma_unmap.size, flags: 0, iova: 0n, size: 0n, ...request });
	try {
		kernel.ioctl(container, VFIO_IOMMU_UNMAP_DMA, argument.bytes);
	} catch (error) {
		onError?.(argument.size);
		throw error;
	}
	return argument.size;
}

/** VFIO_IOMMU_GET_INFO with room for everything, taken apart. */
export function iommuInfo(kernel: SimProcess, container: number) {
	const info = vfio_iommu_type1_info.create(512);
	info.argsz = info.bytes.length;
	kernel.ioctl(container, VFIO_IOMMU_GET_INFO, info.bytes);
	const capabilities: { id: number; version: number; offset: number }[] = [];
	for (let offset = info.cap_offset; offset !== 0; ) {
		const { id, version, next } = vfio_info_cap_header.view(info.bytes, offset);
		capabilities.push({ id, version, offset });
		offset = next;
	}
	const at = (id: number) => capabilities.find((capability) => capability.id === id)?.offset ?? 0;
	const view = new DataView(info.bytes.buffer);
	const ranges = at(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	return {
		argsz: info.argsz,
		flags: info.flags,
		pageSizes: info.iova_pgsizes,
		capabilityOffset: info.cap_offset,
		capabilities,
		available: view.getUint32(at(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) + 8, true),
		ranges: Array.from({ length: view.getUint32(ranges + 8, true) }, (_, index) => {
			const range = vfio_iova_range.view(info.bytes, ranges + 16 + index * 16);
			return [range.start, range.end];
		}),
	};
}

/** VmLck of /proc/self/status, kB. */
export function lockedKilobytes(kernel: SimProcess): number {
	return Number(/VmLck:\s+(\d+) kB/.exec(text(kernel, "/proc/self/status"))?.[1]);
}
