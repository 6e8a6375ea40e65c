/**
 * Which pages of a page table devices have written to.
 *
 * @module
 */
import type { AddressSpace } from "../address-space.ts";

/** The pages that a page table has marked dirty since they were last asked for. */
export class DirtyPages {
	readonly #shift: bigint;
	/** By their index. */
	readonly #pages = new Set<bigint>();
	/** Whether writes are noted. */
	enabled = false;

	/** @param pageSize bytes, a power of two */
	constructor(pageSize: bigint) {
		this.#shift = BigInt(pageSize.toString(2).length - 1);
	}

	/** A device has written. @param length bytes, not 0 */
	mark(address: bigint, length: number): void {
		if (!this.enabled) return;
		const last = (address + BigInt(length) - 1n) >> this.#shift;
		for (let page = address >> this.#shift; page <= last; page++) this.#pages.add(page);
	}

	/** Begins anew, or ends. */
	set(enabled: boolean): void {
		if (enabled) this.#pages.clear();
		this.enabled = enabled;
	}

	/** What is in a range is no longer mapped, or was never. */
	forget(start: bigint, last: bigint): void {
		for (const page of this.#within(start, last)) this.#pages.delete(page);
	}

	/**
	 * Sets the bits of dirty pages in a user's bitmap; the others stay as they are.
	 *
	 * @param base the address of the bitmap's first bit
	 * @param pageSize bytes a bit stands for
	 * @param clear the pages are clean from then on
	 * @returns false where the user has no memory
	 */
	report(
		memory: AddressSpace,
		range: { readonly start: bigint; readonly last: bigint },
		bitmap: { readonly base: bigint; readonly pageSize: bigint; readonly data: bigint },
		clear: boolean,
	): boolean {
		for (const page of this.#within(range.start, range.last)) {
			const bit = ((page << this.#shift) - bitmap.base) / bitmap.pageSize;
			const address = bitmap.data + bit / 8n;
			const byte = memory.read(address, 1)?.[0];
			if (byte === undefined || !memory.write(address, Uint8Array.of(byte | (1 << Number(bit % 8n))))) return false;
			if (clear) this.#pages.delete(page);
		}
		return true;
	}

	#within(start: bigint, last: bigint): bigint[] {
		return [...this.#pages].filter((page) => page >= start >> this.#shift && page <= last >> this.#shift);
	}
}
