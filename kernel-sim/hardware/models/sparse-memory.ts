/**
 * Memory behind BARs that are too large to be kept in one piece, such as the 16 GiB of a graphics card.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import type { DeviceModel } from "../model.ts";

const PAGE = 4096;

/** Bytes that read as they were written; pages that nobody wrote take no room and read as zeroes. */
export class SparseMemory implements DeviceModel {
	/** By BAR, then by page number. */
	readonly #bars = new Map<number, Map<number, DataView>>();

	attach(): void {}

	read(bar: number, offset: number, width: AccessWidth): number {
		const page = this.#bars.get(bar)?.get(Math.floor(offset / PAGE));
		if (page === undefined) return 0;
		const at = offset % PAGE;
		let value = 0;
		for (let i = Math.min(width, PAGE - at) - 1; i >= 0; i--) value = value * 256 + page.getUint8(at + i);
		return value;
	}

	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		const page = this.#page(bar, Math.floor(offset / PAGE));
		const at = offset % PAGE;
		for (let i = 0; i < width && at + i < PAGE; i++) page.setUint8(at + i, value >>> (8 * i));
	}

	/** Memory outlasts a function's reset: only its power going away clears it. */
	reset(): void {}

	detach(): void {
		this.#bars.clear();
	}

	#page(bar: number, number: number): DataView {
		const pages = this.#bars.get(bar) ?? new Map<number, DataView>();
		this.#bars.set(bar, pages);
		const page = pages.get(number) ?? new DataView(new ArrayBuffer(PAGE));
		pages.set(number, page);
		return page;
	}
}
