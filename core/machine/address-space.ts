/**
 * One address space (memory or I/O ports): which BAR decodes an address.
 *
 * @module
 */
import type { AccessWidth } from "../kernel.ts";
import type { GuestPciFunction } from "./machine.ts";

/** A stretch of addresses: `end` is one past the last. */
export interface AddressRange {
	readonly start: number;
	readonly end: number;
}

/** A BAR where it decodes. */
export interface PlacedBar {
	readonly function: GuestPciFunction;
	/** 0 to 5, or 6 for the ROM. */
	readonly bar: number;
	/** The address of the BAR's first byte. */
	readonly base: number;
	/** One past its last byte. */
	readonly end: number;
}

/** What the decoder knows of a BAR: where it is, and which of that its bridges let through. */
interface Placement extends PlacedBar {
	visible(): readonly AddressRange[];
}

/**
 * The BARs of one address space. Where BARs overlap, **the one placed last decodes**, until it moves away; then the one
 * below shows again. (Real buses leave it undefined; a guest that moves a BAR over another one wants the new one.)
 *
 * Addresses are numbers: no processor has more than 52 address bits, and a lookup must not allocate. A BAR that does not
 * lie wholly below `limit`, such as a 64-bit BAR while its size is being read, decodes nowhere.
 */
export class AddressSpace {
	/** One past the highest address. */
	readonly limit: number;
	readonly #placements: Placement[] = [];
	// The flat view: disjoint segments in address order.
	#starts = new Float64Array(0);
	#ends = new Float64Array(0);
	#owners: PlacedBar[] = [];

	constructor(limit: number) {
		this.limit = limit;
	}

	/**
	 * A BAR decodes at `base` from now on, above all that were placed earlier.
	 *
	 * @param visible which addresses reach the BAR through the bridges above it; asked again at each {@link rebuild}
	 */
	place(fn: GuestPciFunction, bar: number, base: number, size: number, visible: () => readonly AddressRange[]): void {
		this.#forget(fn, bar);
		if (base + size <= this.limit) {
			this.#placements.push({ function: fn, bar, base, end: base + size, visible });
		}
		this.rebuild();
	}

	/** The BAR decodes nowhere any more. */
	remove(fn: GuestPciFunction, bar: number): void {
		if (this.#forget(fn, bar)) this.rebuild();
	}

	/** The BAR that decodes the address, or undefined. Allocates nothing. */
	find(address: number): PlacedBar | undefined {
		const segment = this.#segment(address);
		return segment < 0 ? undefined : this.#owners[segment];
	}

	/** Where a BAR decodes now, in address order: empty when nothing reaches it. */
	segments(fn: GuestPciFunction, bar: number): AddressRange[] {
		const found: AddressRange[] = [];
		this.#owners.forEach((owner, i) => {
			if (owner.function === fn && owner.bar === bar) {
				found.push({ start: this.#starts[i] ?? 0, end: this.#ends[i] ?? 0 });
			}
		});
		return found;
	}

	/** A read by the guest: all ones where nothing decodes. */
	read(address: number, width: AccessWidth): number {
		const segment = this.#segment(address);
		const owner = this.#owners[segment];
		if (owner !== undefined && address + width <= (this.#ends[segment] ?? 0)) {
			return owner.function.barRead(owner.bar, address - owner.base, width);
		}
		if (width === 1) return 0xff;
		let value = 0;
		for (let i = 0; i < width; i++) value += this.read(address + i, 1) * 2 ** (8 * i);
		return value;
	}

	/** A write by the guest: dropped where nothing decodes. */
	write(address: number, width: AccessWidth, value: number): void {
		const segment = this.#segment(address);
		const owner = this.#owners[segment];
		if (owner !== undefined && address + width <= (this.#ends[segment] ?? 0)) {
			owner.function.barWrite(owner.bar, address - owner.base, width, value);
		} else if (width > 1) {
			for (let i = 0; i < width; i++) this.write(address + i, 1, (value >>> (8 * i)) & 0xff);
		}
	}

	/** A 64-bit read by the guest. */
	read64(address: number): bigint {
		const segment = this.#segment(address);
		const owner = this.#owners[segment];
		if (owner !== undefined && address + 8 <= (this.#ends[segment] ?? 0)) {
			return owner.function.barRead64(owner.bar, address - owner.base);
		}
		return (BigInt(this.read(address + 4, 4)) << 32n) | BigInt(this.read(address, 4));
	}

	/** A 64-bit write by the guest. */
	write64(address: number, value: bigint): void {
		const segment = this.#segment(address);
		const owner = this.#owners[segment];
		if (owner !== undefined && address + 8 <= (this.#ends[segment] ?? 0)) {
			owner.function.barWrite64(owner.bar, address - owner.base, value);
			return;
		}
		this.write(address, 4, Number(BigInt.asUintN(32, value)));
		this.write(address + 4, 4, Number(BigInt.asUintN(32, value >> 32n)));
	}

	/** Recomputes what decodes where; the bus calls it when a bridge's windows have changed. */
	rebuild(): void {
		const visible = this.#placements.map((placement) => ({ placement, ranges: placement.visible() }));
		const edges = new Set<number>();
		for (const { ranges } of visible) {
			for (const range of ranges) edges.add(range.start).add(range.end);
		}
		const sorted = [...edges].sort((a, b) => a - b);
		const starts: number[] = [];
		const ends: number[] = [];
		const owners: PlacedBar[] = [];
		for (let i = 0; i + 1 < sorted.length; i++) {
			const start = sorted[i] ?? 0;
			const end = sorted[i + 1] ?? 0;
			const top = visible.findLast(({ ranges }) => ranges.some((range) => range.start <= start && end <= range.end));
			if (top === undefined) continue;
			if (owners.at(-1) === top.placement && ends.at(-1) === start) {
				ends[ends.length - 1] = end;
			} else {
				starts.push(start);
				ends.push(end);
				owners.push(top.placement);
			}
		}
		this.#starts = Float64Array.from(starts);
		this.#ends = Float64Array.from(ends);
		this.#owners = owners;
	}

	/** The index of the segment that holds the address, or -1. */
	#segment(address: number): number {
		const starts = this.#starts;
		let low = 0;
		let high = starts.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if ((starts[middle] ?? 0) <= address) low = middle + 1;
			else high = middle;
		}
		return low > 0 && address < (this.#ends[low - 1] ?? 0) ? low - 1 : -1;
	}

	#forget(fn: GuestPciFunction, bar: number): boolean {
		const at = this.#placements.findIndex((placement) => placement.function === fn && placement.bar === bar);
		if (at >= 0) this.#placements.splice(at, 1);
		return at >= 0;
	}
}
