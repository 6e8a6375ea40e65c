/**
 * DMA logging: a device that tells which of the user's memory it has written.
 *
 * @module
 */
import { E2BIG, EFAULT, EINVAL, EOVERFLOW } from "../../../core/uapi/errno.ts";
import {
	VFIO_DEVICE_FEATURE_GET,
	VFIO_DEVICE_FEATURE_SET,
	vfio_device_feature_dma_logging_control,
	vfio_device_feature_dma_logging_range,
	vfio_device_feature_dma_logging_report,
} from "../../../core/uapi/vfio.ts";
import { PAGE_SIZE } from "../address-space.ts";
import type { FeatureRequest } from "./device-feature.ts";
import { type IovaRange, LAST_ADDRESS } from "./iova-ranges.ts";

/** A driver whose device logs its DMA. */
export interface DmaLoggingOps {
	/** @param pageSize what the user wants a bit for, bytes @returns the size there is a bit for, or -errno */
	start(ranges: readonly IovaRange[], pageSize: bigint): bigint | number;
	/** @returns 0 or -errno */
	stop(): number;
	/** Calls back with every page that was written since the last report. @returns 0 or -errno */
	report(range: IovaRange, pageSize: bigint, dirty: (iova: bigint) => void): number;
}

const MOST_RANGES = PAGE_SIZE / vfio_device_feature_dma_logging_range.size;

/** VFIO_DEVICE_FEATURE_DMA_LOGGING_START. */
export function startLogging(logging: DmaLoggingOps, request: FeatureRequest): number {
	const layout = vfio_device_feature_dma_logging_control;
	const checked = request.check(VFIO_DEVICE_FEATURE_SET, layout.size);
	if (checked !== 1) return checked;
	const bytes = request.read(layout.size);
	if (!bytes) return -EFAULT;
	const control = layout.view(bytes.slice());
	if (control.num_ranges === 0) return -EINVAL;
	if (control.num_ranges > MOST_RANGES) return -E2BIG;
	const ranges = readRanges(request, control.ranges, control.num_ranges, control.page_size);
	if (typeof ranges === "number") return ranges;
	const pageSize = logging.start(ranges, control.page_size);
	if (typeof pageSize === "number") return pageSize;
	control.page_size = pageSize;
	if (request.write(control.bytes)) return 0;
	logging.stop();
	return -EFAULT;
}

/** VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP. */
export function stopLogging(logging: DmaLoggingOps, request: FeatureRequest): number {
	const checked = request.check(VFIO_DEVICE_FEATURE_SET, 0);
	return checked === 1 ? logging.stop() : checked;
}

/** VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT. The bits of pages that were not written are left as they are. */
export function reportLogging(logging: DmaLoggingOps, request: FeatureRequest): number {
	const layout = vfio_device_feature_dma_logging_report;
	const checked = request.check(VFIO_DEVICE_FEATURE_GET, layout.size);
	if (checked !== 1) return checked;
	const bytes = request.read(layout.size);
	if (!bytes) return -EFAULT;
	const { iova, length, page_size: pageSize, bitmap } = layout.view(bytes);
	if (pageSize < BigInt(PAGE_SIZE) || (pageSize & (pageSize - 1n)) !== 0n) return -EINVAL;
	if (iova + length > LAST_ADDRESS) return -EOVERFLOW;
	let failed = 0;
	const answer = logging.report({ start: iova, end: iova + length - 1n }, pageSize, (page) => {
		const bit = (page - iova) / pageSize;
		const address = bitmap + bit / 8n;
		const byte = request.process.memory.read(address, 1)?.[0];
		if (byte === undefined || !request.process.memory.write(address, Uint8Array.of(byte | (1 << Number(bit % 8n)))))
			failed = -EFAULT;
	});
	return answer || failed;
}

function readRanges(request: FeatureRequest, address: bigint, count: number, pageSize: bigint): IovaRange[] | number {
	const { size } = vfio_device_feature_dma_logging_range;
	const ranges: IovaRange[] = [];
	for (let index = 0; index < count; index++) {
		const bytes = request.process.memory.read(address + BigInt(index * size), size);
		if (!bytes) return -EFAULT;
		const { iova, length } = vfio_device_feature_dma_logging_range.view(bytes);
		if (((iova | length) & (pageSize - 1n)) !== 0n) return -EINVAL;
		if (iova + length > LAST_ADDRESS) return -EOVERFLOW;
		const end = iova + length - 1n;
		if (ranges.some((range) => iova <= range.end && end >= range.start)) return -EINVAL;
		ranges.push({ start: iova, end });
	}
	return ranges;
}
