/**
 * Dirty page bitmaps in a user's memory.
 *
 * @module
 */
import { EFAULT, EINVAL, ENOMEM } from "../../../core/uapi/errno.ts";
import { type AddressSpace, TASK_SIZE } from "../address-space.ts";

/** The largest bitmap that is taken, bytes. */
export const MAX_DIRTY_BITMAP_SIZE = 0x1000_0000n;

/** More pages than this cannot be tracked at once. */
const MOST_PAGES = (1n << 31n) - 1n;
const ALL = (1n << 64n) - 1n;

/** Where a user wants the bits, one for each page. */
export interface UserBitmap {
	/** Bytes a bit stands for. */
	readonly pageSize: bigint;
	/** Bytes of the bitmap. */
	readonly size: bigint;
	/** Its address. */
	readonly data: bigint;
}

/**
 * What is checked of a bitmap before anything else of the request is.
 *
 * @param range bytes of I/O virtual addresses that it is for
 * @returns 0 or -EINVAL
 */
export function checkBitmap(bitmap: UserBitmap, range: bigint): number {
	const { data, size, pageSize } = bitmap;
	if (size > TASK_SIZE || data > TASK_SIZE - size) return -EINVAL;
	if (pageSize === 0n) return -EINVAL;
	// The kernel looks at the lowest bit alone.
	const pages = range / (pageSize & -pageSize);
	const needed = ((pages + 63n) / 64n) * 8n;
	return pages === 0n || size === 0n || size > MAX_DIRTY_BITMAP_SIZE || size < needed ? -EINVAL : 0;
}

/**
 * A record's bitmap, kept while dirty pages are tracked: bit 0 is its first page.
 *
 * Linux does its work on whole words, and what is not the record's own in them is not cleaned up: a user who asks for
 * pages that do not begin a word of his bitmap finds the rest of his first word in all later answers.
 */
export class DirtyBitmap {
	readonly #pages: number;
	readonly #words: BigUint64Array;

	private constructor(pages: number, words: BigUint64Array) {
		this.#pages = pages;
		this.#words = words;
	}

	/** A bitmap in which no page is dirty. @returns -EINVAL for too many pages, -ENOMEM */
	static of(pages: bigint): DirtyBitmap | number {
		if (pages > MOST_PAGES) return -EINVAL;
		try {
			// One word more, into which the bits are shifted.
			return new DirtyBitmap(Number(pages), new BigUint64Array(Math.ceil(Number(pages) / 64) + 1));
		} catch {
			return -ENOMEM;
		}
	}

	/** A page was written, or a driver may write it at any time. @param page counted from the record's first */
	mark(page: number): void {
		this.#words[page >> 6] = (this.#words[page >> 6] ?? 0n) | (1n << BigInt(page & 63));
	}

	/**
	 * Writes the words that hold the record's pages into the user's bitmap, and begins anew.
	 *
	 * @param first the bit of the user's bitmap for the first page
	 * @param all every page counts as dirty: nothing tells which pages a device behind an IOMMU has written
	 * @returns 0 or -EFAULT
	 */
	report(memory: AddressSpace, data: bigint, first: number, all: boolean): number {
		const words = this.#words;
		if (all) this.#setAll(true);
		const address = data + BigInt(Math.floor(first / 64) * 8);
		const shift = first % 64;
		const count = Math.ceil((this.#pages + shift) / 64);
		if (shift > 0) {
			this.#shiftLeft(BigInt(shift), count);
			const before = memory.read(address, 8);
			if (!before) return -EFAULT;
			words[0] = (words[0] ?? 0n) | new DataView(before.buffer, before.byteOffset).getBigUint64(0, true);
		}
		if (!memory.write(address, new Uint8Array(words.buffer, 0, 8 * count))) return -EFAULT;
		this.#setAll(false);
		return 0;
	}

	/** Marks or clears the record's pages, and leaves the other bits of the last word as they are. */
	#setAll(dirty: boolean): void {
		const whole = Math.floor(this.#pages / 64);
		this.#words.fill(dirty ? ALL : 0n, 0, whole);
		const rest = (1n << BigInt(this.#pages % 64)) - 1n;
		const word = this.#words[whole] ?? 0n;
		this.#words[whole] = dirty ? word | rest : word & ~rest;
	}

	#shiftLeft(shift: bigint, count: number): void {
		const words = this.#words;
		for (let at = count - 1; at >= 0; at--) {
			const carried = at > 0 ? (words[at - 1] ?? 0n) >> (64n - shift) : 0n;
			words[at] = carried | BigInt.asUintN(64, (words[at] ?? 0n) << shift);
		}
	}
}
