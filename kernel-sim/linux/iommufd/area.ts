/**
 * One mapping of an address space.
 *
 * @module
 */
import type { Pages, PagesPin } from "./pages.ts";

/** Part of some pages at an I/O virtual address. */
export class Area {
	readonly iova: bigint;
	/** Bytes. */
	readonly size: bigint;
	/** The last address. */
	readonly last: bigint;
	readonly pages: Pages;
	/** Where in the pages it starts, bytes. */
	readonly offset: bigint;
	/** Bits of `DMA_READ` and `DMA_WRITE`. */
	readonly access: number;
	/** While a page table needs it. */
	pinned: PagesPin | undefined;
	/** What devices without DMA of their own have pinned of it: it has to be asked for back. */
	borrowed = 0;

	constructor(iova: bigint, size: bigint, pages: Pages, offset: bigint, access: number) {
		this.iova = iova;
		this.size = size;
		this.last = iova + size - 1n;
		this.pages = pages;
		this.offset = offset;
		this.access = access;
	}

	/** Its first byte: an address or a place in a file, of which only what is below a page matters. */
	get start(): bigint {
		return this.pages.start + this.offset;
	}
}
