/**
 * `IOMMU_IOAS_MAP_FILE` of a dma-buf, and what its refusals mean.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { DmaBuf } from "../machine/machine.ts";
import { isErrno, retry } from "../retry.ts";
import { EINVAL, ENODEV, ENOTTY, EOPNOTSUPP } from "../uapi/errno.ts";
import { IOMMU_IOAS_MAP_FILE, iommu_ioas_map_file } from "../uapi/iommufd.ts";
import type { IommufdSpace } from "./iommufd-space.ts";
import { describeStretch, inOneRange, outOfRange } from "./planner.ts";

/** @param flags `IOMMU_IOAS_MAP_*` @throws KernelError */
export function requestMapDmaBuf(ioas: IommufdSpace, iova: bigint, buffer: DmaBuf, flags: number): void {
	const request = iommu_ioas_map_file.create();
	request.size = iommu_ioas_map_file.size;
	request.flags = flags;
	request.ioas_id = ioas.id;
	request.fd = buffer.fd;
	request.length = BigInt(buffer.length);
	request.iova = iova;
	retry(() => ioas.kernel.ioctl(ioas.iommufd.fd, IOMMU_IOAS_MAP_FILE, request.bytes));
}

/** Linux before 6.13 does not know the request, and before 6.19 no file but a memfd. */
export function explainMapDmaBuf(ioas: IommufdSpace, iova: bigint, { length }: DmaBuf, cause: unknown): VfioError {
	const size = BigInt(length);
	const failed = (code: "mapping-failed" | "no-dma-buf", reason: string) =>
		new VfioError(code, `Cannot map ${describeStretch(iova, size)} for DMA: ${reason}`, { cause });
	if (isErrno(cause, ENODEV))
		return failed("mapping-failed", "the dma-buf is revoked: its device does not decode memory at present");
	if (isErrno(cause, EINVAL)) {
		const { iovaRanges, pageSize } = ioas.info();
		if ((iova | size) % pageSize !== 0n)
			return failed("mapping-failed", `it is not a whole number of pages of ${pageSize} bytes`);
		if (iovaRanges && !inOneRange(iova, size, iovaRanges)) return outOfRange(iova, size, iovaRanges, cause);
	}
	if (isErrno(cause, EINVAL, ENOTTY, EOPNOTSUPP))
		return failed("no-dma-buf", "this kernel's iommufd does not map the dma-buf");
	return failed("mapping-failed", (cause as Error).message);
}
