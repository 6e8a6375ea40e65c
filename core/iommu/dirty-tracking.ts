/**
 * Which pages devices may have written.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel, Memory } from "../kernel.ts";

/**
 * Dirty page tracking of an I/O address space. A container whose IOMMU has no dirty bits says of every page that it is
 * dirty; an address space of iommufd refuses then.
 *
 * @example
 * ```ts
 * iommu.dirty.start();
 * const bitmap = iommu.dirty.bitmap(0n, 0x100000n); // bit 0 of byte 0 is the page at 0
 * iommu.dirty.stop();
 * ```
 */
export interface DirtyTracking {
	/** @throws VfioError `unsupported-iommu`, `kernel`, `disposed` */
	start(): void;
	/** @throws VfioError `unsupported-iommu`, `kernel`, `disposed` */
	stop(): void;
	/**
	 * The pages of a stretch that were written since they were asked for last.
	 *
	 * @param iova page aligned
	 * @param size bytes; the stretch must not cut a mapping
	 * @returns a bit for each page of the smallest size, the lowest first; valid until the next call
	 * @throws VfioError `invalid-argument` when the bitmap is larger than the kernel takes, `unsupported-iommu`, `kernel`, `disposed`
	 */
	bitmap(iova: bigint, size: bigint): Uint8Array;
	/**
	 * Unmaps a stretch and says which of its pages were written.
	 *
	 * @returns as {@link bitmap}
	 * @throws VfioError as {@link bitmap}
	 */
	unmap(iova: bigint, size: bigint): Uint8Array;
}

/**
 * How long the bitmap of so many bytes is: whole words of 64 bits.
 *
 * @param limit the longest that the kernel takes, bytes
 * @throws VfioError `invalid-argument`
 */
export function bitmapLength(size: bigint, pageSize: bigint, limit: bigint): number {
	const pages = (size + pageSize - 1n) / pageSize;
	const length = ((pages + 63n) / 64n) * 8n;
	if (length > 0n && length <= limit) return Number(length);
	throw new VfioError(
		"invalid-argument",
		`Cannot read dirty pages: ${size} bytes need a bitmap of ${length} bytes, and the kernel takes 8 to ${limit}`,
	);
}

/** Memory for bitmaps, which the kernel writes by address; kept from one to the next. */
export class DirtyBitmap implements Disposable {
	readonly #kernel: Kernel;
	#memory: Memory | undefined;

	constructor(kernel: Kernel) {
		this.#kernel = kernel;
	}

	/**
	 * A zeroed bitmap, since the kernel writes only what belongs to a mapping.
	 *
	 * @param size bytes that it is about
	 * @param limit the longest bitmap that the kernel takes, bytes
	 * @throws VfioError `invalid-argument`, `kernel`
	 */
	prepare(size: bigint, pageSize: bigint, limit: bigint): { readonly address: bigint; readonly bytes: Uint8Array } {
		const length = bitmapLength(size, pageSize, limit);
		const memory = this.#room(length);
		const bytes = memory.bytes.subarray(0, length);
		bytes.fill(0);
		return { address: memory.address, bytes };
	}

	/** Frees the memory. */
	[Symbol.dispose](): void {
		this.#memory?.[Symbol.dispose]();
		this.#memory = undefined;
	}

	#room(length: number): Memory {
		if (this.#memory && this.#memory.length >= length) return this.#memory;
		this[Symbol.dispose]();
		try {
			this.#memory = this.#kernel.allocate(length);
		} catch (cause) {
			throw new VfioError("kernel", `Cannot read dirty pages: ${(cause as Error).message}`, { cause });
		}
		return this.#memory;
	}
}

/** What a call about dirty pages that failed means. @param action such as `read dirty pages` */
export function dirtyCallFailed(action: string, cause: unknown): VfioError {
	return new VfioError("kernel", `Cannot ${action}: ${(cause as Error).message}`, { cause });
}
