/**
 * Dirty page bitmaps in a user's memory.
 *
 * @module
 */
import { EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import { type AddressSpace, TASK_SIZE } from "../address-space.ts";

/** The largest bitmap that is taken, bytes. */
export const MAX_DIRTY_BITMAP_SIZE = 0x1000_0000n;

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
 * Marks pages dirty. Words that hold any of the bits are written whole: bits before the first page stay, bits behind the
 * last one become 0.
 *
 * @param first the bit of the first page
 * @returns 0 or -EFAULT
 */
export function markDirty(memory: AddressSpace, data: bigint, first: number, pages: number): number {
	const word = Math.floor(first / 64);
	const shift = first % 64;
	const bytes = new Uint8Array(Math.ceil((shift + pages) / 64) * 8);
	const address = data + BigInt(word * 8);
	if (shift > 0) {
		const before = memory.read(address, 8);
		if (!before) return -EFAULT;
		for (let bit = 0; bit < shift; bit++) setBit(bytes, bit, ((before[bit >> 3] ?? 0) >> (bit & 7)) & 1);
	}
	for (let bit = shift; bit < shift + pages; bit++) setBit(bytes, bit, 1);
	return memory.write(address, bytes) ? 0 : -EFAULT;
}

function setBit(bytes: Uint8Array, bit: number, value: number): void {
	bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (value << (bit & 7));
}
