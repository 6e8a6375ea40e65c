/**
 * VFIO_DEVICE_FEATURE_DMA_BUF: parts of a BAR as a file that other drivers can import.
 *
 * @module
 */
import { EFAULT, EINVAL, ENODEV, EOVERFLOW } from "../../../core/uapi/errno.ts";
import { O_CLOEXEC } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_PCI_BAR5_REGION_INDEX,
	vfio_device_feature_dma_buf,
	vfio_region_dma_range,
} from "../../../core/uapi/vfio.ts";
import type { DmaTarget } from "../../hardware/iommu-domain.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { ExportedMemory, Import } from "../iommufd/file-pages.ts";
import type { SimProcess } from "../process.ts";
import { RegionDmaTarget } from "../region-mapping.ts";
import { BarMemory, type MemoryGate } from "./bar-memory.ts";
import type { OpenDevice } from "./open-device.ts";

const PAGE_SIZE = 4096n;
const LARGEST = 2n ** 64n;

/** Part of a BAR. */
export interface DmaBufRange {
	/** Bytes from the start of the BAR. */
	readonly offset: number;
	/** Bytes. */
	readonly length: number;
}

/** An exported dma-buf. It does not keep the device open. */
export class DmaBufFile extends OpenFile implements ExportedMemory {
	readonly bar: number;
	readonly ranges: readonly DmaBufRange[];
	readonly imports = new Set<Import>();
	readonly #gate: MemoryGate;

	constructor(gate: MemoryGate, bar: number, ranges: readonly DmaBufRange[]) {
		super("anon_inode:dmabuf");
		this.#gate = gate;
		this.bar = bar;
		this.ranges = ranges;
	}

	get stretches(): number {
		return this.ranges.length;
	}

	get size(): number {
		return this.ranges.reduce((total, { length }) => total + length, 0);
	}

	get target(): DmaTarget {
		return new RegionDmaTarget(new BarMemory(this.#gate, this.bar, this.ranges[0]?.offset ?? 0));
	}

	/** Importers must not use it now: memory decoding is off, or the device sleeps or is gone. */
	get revoked(): boolean {
		return !this.#gate.mappable;
	}

	/** Whoever has imported it loses it, for good. */
	revoke(): void {
		for (const one of this.imports) one.revoke();
	}
}

/**
 * Exports ranges of a BAR.
 *
 * @param at where the feature's data starts in the argument, bytes
 * @returns a file descriptor, or a negative errno
 */
export function exportDmaBuf(device: OpenDevice, process: SimProcess, argument: IoctlArgument, at: number): number {
	const bytes = argument.read(vfio_device_feature_dma_buf.size, at);
	if (!bytes) return -EFAULT;
	const { region_index: bar, open_flags, flags, nr_ranges } = vfio_device_feature_dma_buf.view(bytes);
	if (nr_ranges === 0 || flags !== 0) return -EINVAL;
	if (bar > VFIO_PCI_BAR5_REGION_INDEX || !device.canMap(bar)) return -ENODEV;
	const data = argument.read(nr_ranges * vfio_region_dma_range.size, at + vfio_device_feature_dma_buf.size);
	if (!data) return -EFAULT;
	const size = BigInt(device.regions.size(bar));
	const ranges: DmaBufRange[] = [];
	for (let index = 0; index < nr_ranges; index++) {
		const { offset, length } = vfio_region_dma_range.view(data, index * vfio_region_dma_range.size);
		if (length === 0n || (offset | length) % PAGE_SIZE !== 0n) return -EINVAL;
		if (offset + length >= LARGEST) return -EOVERFLOW;
		if (offset + length > size) return -EINVAL;
		ranges.push({ offset: Number(offset), length: Number(length) });
	}
	const file = new DmaBufFile(device.bound, bar, ranges);
	device.exports.add(file);
	file.whenReleased(() => device.exports.delete(file));
	return process.installFile(file, (open_flags & O_CLOEXEC) !== 0);
}
