/**
 * Memory of an address space of iommufd, for the driver of a mediated device.
 *
 * @module
 */
import { VFIO_DMA_MAP_FLAG_WRITE } from "../../../core/uapi/vfio.ts";
import { PAGE_SIZE, type PinnedMemory } from "../address-space.ts";
import { IommufdAccess } from "../iommufd/access.ts";
import type { IommufdFile } from "../iommufd/file.ts";
import type { EmulatedDma } from "../vfio/emulated-dma.ts";

interface Page {
	readonly memory: PinnedMemory;
	count: number;
}

const PAGE_MASK = BigInt(PAGE_SIZE) - 1n;

/** What a mediated device that is bound to an open /dev/iommu reaches. */
export class IommufdDma implements EmulatedDma {
	/** The binding, which is attached to an address space later, or to another one. */
	readonly access: IommufdAccess;
	readonly #pages = new Map<bigint, Page>();
	readonly #listeners = new Set<(iova: bigint, size: bigint) => void>();

	constructor(file: IommufdFile) {
		this.access = IommufdAccess.bindTo(file, (iova, length) => this.#unmapping(iova, length));
	}

	pin(iova: bigint, access: number): PinnedMemory | number {
		const start = iova & ~PAGE_MASK;
		const known = this.#pages.get(start);
		if (known) {
			known.count++;
			return known.memory;
		}
		const pin = this.access.pin(start, BigInt(PAGE_SIZE), (access & VFIO_DMA_MAP_FLAG_WRITE) !== 0);
		if (typeof pin === "number") return pin;
		const [part] = pin.parts;
		if (!part) throw new Error("Cannot use a pinned page: it has no memory");
		const memory = { target: part.target, offset: part.offset, accounted: true, release: () => pin.release() };
		this.#pages.set(start, { memory, count: 1 });
		return memory;
	}

	unpin(iova: bigint): void {
		const page = this.#pages.get(iova & ~PAGE_MASK);
		if (page && --page.count === 0) this.#drop(iova & ~PAGE_MASK, page);
	}

	read(iova: bigint, into: Uint8Array): number {
		return this.access.read(iova, into);
	}

	write(iova: bigint, from: Uint8Array): number {
		return this.access.write(iova, from);
	}

	onUnmap(listener: (iova: bigint, size: bigint) => void): Disposable {
		this.#listeners.add(listener);
		return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
	}

	/** Whoever keeps a page all the same loses it. */
	#unmapping(iova: bigint, length: bigint): void {
		for (const listener of [...this.#listeners]) listener(iova, length);
		for (const [start, page] of [...this.#pages]) if (start >= iova && start - iova < length) this.#drop(start, page);
	}

	#drop(start: bigint, page: Page): void {
		this.#pages.delete(start);
		page.memory.release();
	}
}
