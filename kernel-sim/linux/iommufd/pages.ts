/**
 * Memory that mappings lead to. It is pinned when a page table needs it and not before, and it may lie in several address
 * spaces.
 *
 * @module
 */
import { EFAULT } from "../../../core/uapi/errno.ts";
import { PAGE_SIZE, type PinnedMemory } from "../address-space.ts";
import type { SimProcess } from "../process.ts";
import type { Account } from "./accounts.ts";

/** Where memory comes from. */
export interface PageSource {
	/** @returns -errno when it is not there, or not for this */
	pin(offset: bigint, length: bigint, write: boolean): PinnedMemory | number;
	/** Nothing refers to it any more. */
	release?(): void;
}

/** Addresses of a process: what IOMMU_IOAS_MAP takes. Only real memory can be pinned, regions of devices cannot. */
export class UserPages implements PageSource {
	readonly #process: SimProcess;
	readonly #address: bigint;

	constructor(process: SimProcess, address: bigint) {
		this.#process = process;
		this.#address = address;
	}

	pin(offset: bigint, length: bigint, write: boolean): PinnedMemory | number {
		const pinned = this.#process.memory.pin(this.#address + offset, length, write);
		if (typeof pinned === "number" || pinned.accounted) return pinned;
		pinned.release();
		return -EFAULT;
	}
}

/** A range of pinned pages, by their index. */
interface PinnedRange {
	readonly first: number;
	readonly last: number;
}

/** Part of some pages, pinned. */
export interface PagesPin extends PinnedMemory {
	readonly range: PinnedRange;
	/** What its source has pinned for it. */
	readonly source: PinnedMemory;
}

/** Memory behind one IOMMU_IOAS_MAP and all copies of it. */
export class Pages {
	/** What it begins with: an address, or an offset into a file. Only what is below a page matters. */
	readonly start: bigint;
	/** Bytes. */
	readonly length: bigint;
	readonly writable: boolean;
	/** Whether it belongs to a process's address space. */
	readonly ofProcess: boolean;
	readonly #source: PageSource;
	/** Absent for memory that nobody pays for. */
	readonly #account: Account | undefined;
	readonly #ranges: PinnedRange[] = [];
	#areas = 0;

	constructor(source: PageSource, start: bigint, length: bigint, writable: boolean, account: Account | undefined) {
		this.#source = source;
		this.start = start;
		this.length = length;
		this.writable = writable;
		this.#account = account;
		this.ofProcess = source instanceof UserPages;
	}

	/** Another mapping leads to it. */
	use(): void {
		this.#areas++;
	}

	/** A mapping is gone. */
	unuse(): void {
		if (--this.#areas === 0) this.#source.release?.();
	}

	/** Pages that are pinned, each counted once. */
	get pinned(): number {
		return covered(this.#ranges);
	}

	/**
	 * Pins part of it, and charges what was not pinned before.
	 *
	 * @returns -EFAULT or -ENOMEM, with nothing pinned
	 */
	pin(offset: bigint, length: bigint): PagesPin | number {
		const pinned = this.#source.pin(offset, length, this.writable);
		if (typeof pinned === "number") return pinned;
		const range = this.#range(offset, length);
		const more = covered([...this.#ranges, range]) - this.pinned;
		const charged = this.#account?.charge(more) ?? 0;
		if (charged < 0) {
			pinned.release();
			return charged;
		}
		return this.#hold(pinned, pinned.offset, range);
	}

	/**
	 * Two pins in the place of one. The memory is not asked for again: its owner may have given up its address.
	 *
	 * @param offset of the pin, bytes
	 * @param size bytes of the first one
	 * @param rest bytes of the second one
	 */
	split(pin: PagesPin, offset: bigint, size: bigint, rest: bigint): [PagesPin, PagesPin] {
		let users = 2;
		const { target, accounted } = pin;
		const release = () => {
			if (--users === 0) pin.source.release();
		};
		const source: PinnedMemory = { target, offset: pin.source.offset, accounted, release };
		const low = this.#hold(source, pin.offset, this.#range(offset, size));
		const high = this.#hold(source, pin.offset + Number(size), this.#range(offset + size, rest));
		this.#forget(pin.range);
		return [low, high];
	}

	#hold(source: PinnedMemory, offset: number, range: PinnedRange): PagesPin {
		this.#ranges.push(range);
		const { target, accounted } = source;
		const release = () => {
			this.#forget(range);
			source.release();
		};
		return { target, offset, accounted, range, source, release };
	}

	/** A range is no longer pinned: pages that are in no other one are given back. */
	#forget(range: PinnedRange): void {
		const before = this.pinned;
		this.#ranges.splice(this.#ranges.indexOf(range), 1);
		this.#account?.charge(this.pinned - before);
	}

	#range(offset: bigint, length: bigint): PinnedRange {
		return { first: this.#page(offset), last: this.#page(offset + length - 1n) };
	}

	#page(offset: bigint): number {
		return Math.floor(Number((this.start % BigInt(PAGE_SIZE)) + offset) / PAGE_SIZE);
	}
}

/** How many pages lie in at least one of the ranges. */
function covered(ranges: readonly PinnedRange[]): number {
	let count = 0;
	let next = 0;
	for (const { first, last } of [...ranges].sort((one, other) => one.first - other.first)) {
		count += Math.max(0, last - Math.max(first, next) + 1);
		next = Math.max(next, last + 1);
	}
	return count;
}
