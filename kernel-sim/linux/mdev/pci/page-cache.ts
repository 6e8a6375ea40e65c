/**
 * DMA of a device without an IOMMU: pages are pinned when it first touches them, and kept until they are unmapped.
 *
 * @module
 */
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from "../../../../core/uapi/vfio.ts";
import { PAGE_SIZE, type PinnedMemory } from "../../address-space.ts";
import type { EmulatedDma } from "../../vfio/emulated-dma.ts";

interface Page {
	memory: PinnedMemory;
	access: number;
	/** How often it was pinned: once more when the device writes what it has only read before. */
	pins: number;
}

const PAGE_MASK = BigInt(PAGE_SIZE) - 1n;

/** What a device has pinned while it is open. */
export class PageCache implements Disposable {
	readonly #dma: EmulatedDma;
	readonly #pages = new Map<bigint, Page>();
	readonly #listening: Disposable;

	constructor(dma: EmulatedDma) {
		this.#dma = dma;
		this.#listening = dma.onUnmap((iova, size) => this.#unmapping(iova, size));
	}

	/** How many pages are pinned. */
	get size(): number {
		return this.#pages.size;
	}

	/** @returns false when something of it is not mapped for that */
	read(address: bigint, into: Uint8Array): boolean {
		return this.#transfer(address, into.length, VFIO_DMA_MAP_FLAG_READ, ({ target }, offset, done, length) => {
			const part = into.subarray(done, done + length);
			if (target.read) return target.read(offset, part);
			const bytes = target.bytes();
			if (offset + length > bytes.length) return false;
			part.set(bytes.subarray(offset, offset + length));
			return true;
		});
	}

	/** @returns false when something of it is not mapped for that */
	write(address: bigint, from: Uint8Array): boolean {
		return this.#transfer(address, from.length, VFIO_DMA_MAP_FLAG_WRITE, ({ target }, offset, done, length) => {
			const part = from.subarray(done, done + length);
			if (target.write) return target.write(offset, part);
			const bytes = target.bytes();
			if (offset + length > bytes.length) return false;
			bytes.set(part, offset);
			return true;
		});
	}

	/** The device is closed: lets go of everything. */
	[Symbol.dispose](): void {
		this.#listening[Symbol.dispose]();
		for (const start of [...this.#pages.keys()]) this.#drop(start);
	}

	#transfer(
		address: bigint,
		length: number,
		access: number,
		move: (memory: PinnedMemory, offset: number, done: number, length: number) => boolean,
	): boolean {
		for (let done = 0; done < length; ) {
			const at = address + BigInt(done);
			const inPage = Number(at & PAGE_MASK);
			const memory = this.#page(at & ~PAGE_MASK, access);
			const part = Math.min(length - done, PAGE_SIZE - inPage);
			if (!memory || !move(memory, memory.offset + inPage, done, part)) return false;
			done += part;
		}
		return true;
	}

	#page(start: bigint, access: number): PinnedMemory | undefined {
		const known = this.#pages.get(start);
		if (known && (known.access & access) !== 0) return known.memory;
		const memory = this.#dma.pin(start, access);
		if (typeof memory === "number") return undefined;
		if (known) {
			known.memory = memory;
			known.access |= access;
			known.pins++;
		} else this.#pages.set(start, { memory, access, pins: 1 });
		return memory;
	}

	#unmapping(iova: bigint, size: bigint): void {
		for (const start of [...this.#pages.keys()]) if (start >= iova && start - iova < size) this.#drop(start);
	}

	#drop(start: bigint): void {
		const page = this.#pages.get(start);
		this.#pages.delete(start);
		for (let pin = page?.pins ?? 0; pin > 0; pin--) this.#dma.unpin(start);
	}
}
