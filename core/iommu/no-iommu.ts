/**
 * A container without an IOMMU: there is nothing to map, and nothing stops a device from doing DMA wherever it likes.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { DirtyTracking } from "./dirty-tracking.ts";
import { DmaSpace } from "./dma-space.ts";
import type { DmaMapping, IommuInfo } from "./iommu.ts";
import type { Memlock } from "./memlock.ts";

function unsupported(action: string): VfioError {
	return new VfioError(
		"unsupported-iommu",
		`Cannot ${action}: there is no IOMMU, so devices do DMA to physical addresses and nothing protects memory from it`,
		{ remedy: ["Enable the IOMMU of the host, or give the device physical addresses, as DPDK does."] },
	);
}

class NoDirtyTracking implements DirtyTracking, Disposable {
	start(): void {
		throw unsupported("track dirty pages");
	}
	stop(): void {
		throw unsupported("track dirty pages");
	}
	bitmap(): Uint8Array {
		throw unsupported("read dirty pages");
	}
	unmap(): Uint8Array {
		throw unsupported("read dirty pages");
	}
	[Symbol.dispose](): void {}
}

/** An {@link Iommu} that maps nothing: `VFIO_NOIOMMU_IOMMU`. */
export class NoIommu extends DmaSpace {
	readonly backend = "noiommu";
	readonly dirty = new NoDirtyTracking();
	protected readonly what = "the container";

	info(): IommuInfo {
		this.requireOpen("query");
		return { pageSizes: 4096n, pageSize: 4096n, iovaRanges: undefined, dmaAvail: 0, dirtyTracking: undefined };
	}

	lockable(): Memlock | undefined {
		return undefined;
	}

	protected requestMap(): void {
		throw unsupported("map memory for DMA");
	}

	protected requestUnmap(): bigint {
		return 0n;
	}

	protected removeAll(_entries: readonly DmaMapping[]): bigint {
		return 0n;
	}

	protected explainMap(_iova: bigint, _vaddr: bigint, _size: bigint, cause: unknown): unknown {
		return cause;
	}
}
