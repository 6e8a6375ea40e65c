/**
 * `VFIO_DEVICE_FEATURE_DMA_BUF`: a part of a BAR as a file.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type { DmaBuf } from "../machine/machine.ts";
import { isErrno, retry } from "../retry.ts";
import { ENODEV, ENOTTY, EOPNOTSUPP } from "../uapi/errno.ts";
import { O_CLOEXEC, O_RDWR } from "../uapi/fcntl.ts";
import {
	VFIO_DEVICE_FEATURE,
	VFIO_DEVICE_FEATURE_DMA_BUF,
	VFIO_DEVICE_FEATURE_GET,
	VFIO_PCI_BAR5_REGION_INDEX,
	vfio_device_feature,
	vfio_device_feature_dma_buf,
	vfio_region_dma_range,
} from "../uapi/vfio.ts";
import type { NamedDevice } from "./kind.ts";
import { type Region, regionName } from "./region.ts";

/** The smallest page there is: the kernel takes whole ones of its own, and says so when these are larger. */
const SMALLEST_PAGE = 4096;

/**
 * Exports one stretch of a BAR: iommufd takes no file of several.
 *
 * @param offset bytes in the BAR
 * @param length bytes
 * @throws VfioError `no-dma-buf`, `invalid-argument`, `mapping-failed`, `kernel`
 */
export function exportDmaBuf(
	kernel: Kernel,
	deviceFd: number,
	device: NamedDevice,
	region: Region,
	offset: number,
	length: number,
): DmaBuf {
	const { name, kind } = device;
	const what = `Cannot export ${regionName(region.index, kind)} of ${name} as a dma-buf`;
	const details = { device: name };
	if (kind !== "pci" || region.index > VFIO_PCI_BAR5_REGION_INDEX)
		throw new VfioError("invalid-argument", `${what}: it is not a BAR`, details);
	if (offset < 0 || length <= 0 || offset + length > region.size || offset % SMALLEST_PAGE || length % SMALLEST_PAGE) {
		const reason = `${length} bytes at ${offset} are not whole pages within its ${region.size} bytes`;
		throw new VfioError("invalid-argument", `${what}: ${reason}`, details);
	}
	const request = vfio_device_feature.create(vfio_device_feature_dma_buf.size + vfio_region_dma_range.size);
	request.argsz = request.bytes.length;
	request.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	const feature = vfio_device_feature_dma_buf.view(request.bytes, vfio_device_feature.size);
	feature.region_index = region.index;
	feature.open_flags = O_RDWR | O_CLOEXEC;
	feature.nr_ranges = 1;
	const range = vfio_region_dma_range.view(request.bytes, vfio_device_feature.size + vfio_device_feature_dma_buf.size);
	range.offset = BigInt(offset);
	range.length = BigInt(length);
	let fd: number;
	try {
		fd = retry(() => kernel.ioctl(deviceFd, VFIO_DEVICE_FEATURE, request.bytes));
	} catch (cause) {
		const failed = { ...details, cause };
		if (isErrno(cause, ENOTTY))
			throw new VfioError("no-dma-buf", `${what}: its driver in this kernel does not do that`, {
				...failed,
				remedy: ["Linux exports BARs since 6.19, with CONFIG_VFIO_PCI_DMABUF."],
			});
		if (isErrno(cause, EOPNOTSUPP))
			throw new VfioError("no-dma-buf", `${what}: the kernel does not do peer-to-peer DMA with it`, failed);
		if (isErrno(cause, ENODEV))
			throw new VfioError("mapping-failed", `${what}: the kernel does not have it as memory of its own`, failed);
		throw new VfioError("kernel", `${what}: ${(cause as Error).message}`, failed);
	}
	return new OpenDmaBuf(kernel, name, fd, length);
}

class OpenDmaBuf implements DmaBuf {
	readonly fd: number;
	readonly length: number;
	readonly #kernel: Kernel;
	readonly #device: string;
	#open = true;

	constructor(kernel: Kernel, device: string, fd: number, length: number) {
		this.#kernel = kernel;
		this.#device = device;
		this.fd = fd;
		this.length = length;
	}

	[Symbol.dispose](): void {
		if (!this.#open) return;
		this.#open = false;
		try {
			this.#kernel.close(this.fd);
		} catch (cause) {
			const message = `Cannot close a dma-buf of ${this.#device}: ${(cause as Error).message}`;
			throw new VfioError("kernel", message, { device: this.#device, cause });
		}
	}
}
