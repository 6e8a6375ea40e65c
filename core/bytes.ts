/**
 * Little-endian values in byte arrays, as PCI lays out its registers, without allocating.
 *
 * @module
 */
import type { AccessWidth } from "./kernel.ts";

/** The answer of a bus on which nobody answers: all ones. @param width bytes */
export function allOnes(width: number): number {
	return width === 1 ? 0xff : width === 2 ? 0xffff : 0xffffffff;
}

/** What a 64-bit read of nothing answers. */
export const ALL_ONES_64 = 0xffff_ffff_ffff_ffffn;

/** @returns unsigned; bytes past the end of the array read 0 */
export function load(bytes: Uint8Array, offset: number, width: AccessWidth): number {
	let value = 0;
	for (let i = width - 1; i >= 0; i--) value = (value << 8) | (bytes[offset + i] ?? 0);
	return value >>> 0;
}

/** Bytes past the end of the array are dropped. */
export function store(bytes: Uint8Array, offset: number, width: AccessWidth, value: number): void {
	for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i);
}

/** For sentences: `0x1f0`. */
export function hex(value: number, digits = 1): string {
	return `0x${value.toString(16).padStart(digits, "0")}`;
}

/** `value` rounded down to a multiple of `unit`, a power of two; exact below 2^53. */
export function alignDown(value: number, unit: number): number {
	return value - (value % unit);
}

/** `value` rounded up to a multiple of `unit`, a power of two; exact below 2^53. */
export function alignUp(value: number, unit: number): number {
	return alignDown(value + unit - 1, unit);
}

/** The smallest power of two that is not below `value`; 0 for 0. */
export function powerOfTwoCeiling(value: number): number {
	if (value <= 0) return 0;
	let power = 1;
	while (power < value) power *= 2;
	return power;
}
