/**
 * What each bit of a device's configuration space is to the user: two masks and an owner, one byte for each byte.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { clearBits, setBits } from "../../hardware/little-endian.ts";

/** Bytes that belong to nothing the kernel knows: gaps, and the bodies of hidden capabilities. */
export const UNASSIGNED = 0;

/** The rules of a configuration space. A new one passes everything through. */
export class ConfigBits {
	/** Bits that live in the kernel's copy; the others are the hardware's. */
	readonly virtual: Uint8Array;
	/** Bits that a write changes. */
	readonly writable: Uint8Array;
	/** Which capability a byte belongs to: its number in order of discovery, from 1; {@link UNASSIGNED} otherwise. */
	readonly owner: Uint16Array;
	#owners = 0;

	constructor(size: number) {
		this.virtual = new Uint8Array(size);
		this.writable = new Uint8Array(size).fill(0xff);
		this.owner = new Uint16Array(size);
	}

	/** Gives bytes to a new owner: hardware shows through, nothing can be written. @returns the owner's number */
	claim(offset: number, length: number): number {
		const end = Math.min(offset + length, this.owner.length);
		this.virtual.fill(0, offset, end);
		this.writable.fill(0, offset, end);
		this.owner.fill(++this.#owners, offset, end);
		return this.#owners;
	}

	/** These bits read from the copy. */
	hold(offset: number, width: AccessWidth, bits: number): void {
		if (offset + width <= this.virtual.length) setBits(this.virtual, offset, width, bits);
	}

	/** These bits can be written, in the copy or in hardware. */
	allow(offset: number, width: AccessWidth, bits: number): void {
		if (offset + width <= this.writable.length) setBits(this.writable, offset, width, bits);
	}

	/** These bits cannot be written. */
	forbid(offset: number, width: AccessWidth, bits: number): void {
		if (offset + width <= this.writable.length) clearBits(this.writable, offset, width, bits);
	}

	/** The whole range passes through, as if nobody owned it. */
	allowAll(offset: number, length: number): void {
		this.writable.fill(0xff, offset, Math.min(offset + length, this.writable.length));
	}
}
