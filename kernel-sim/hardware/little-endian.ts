/**
 * Registers in byte arrays, little-endian and at any alignment, without allocating.
 *
 * @module
 */
import type { AccessWidth } from "../../core/kernel.ts";

/** What a read answers when nothing does. */
export function allOnes(width: AccessWidth): number {
	return width === 4 ? 0xffffffff : width === 2 ? 0xffff : 0xff;
}

/** What a 64-bit read answers when nothing does. */
export const ALL_ONES_64 = 0xffffffffffffffffn;

/** @returns the unsigned value at `offset`; bytes past the end read as zero */
export function load(bytes: Uint8Array, offset: number, width: AccessWidth): number {
	const low = bytes[offset] ?? 0;
	if (width === 1) return low;
	const word = low | ((bytes[offset + 1] ?? 0) << 8);
	if (width === 2) return word;
	return (word | ((bytes[offset + 2] ?? 0) << 16) | ((bytes[offset + 3] ?? 0) << 24)) >>> 0;
}

/** Stores the low `width` bytes of a value. */
export function store(bytes: Uint8Array, offset: number, width: AccessWidth, value: number): void {
	for (let index = 0; index < width; index++) bytes[offset + index] = (value >>> (8 * index)) & 0xff;
}

/** Sets bits of a register. */
export function setBits(bytes: Uint8Array, offset: number, width: AccessWidth, bits: number): void {
	store(bytes, offset, width, load(bytes, offset, width) | bits);
}

/** Clears bits of a register. */
export function clearBits(bytes: Uint8Array, offset: number, width: AccessWidth, bits: number): void {
	store(bytes, offset, width, load(bytes, offset, width) & ~bits);
}
