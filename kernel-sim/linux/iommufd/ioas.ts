/**
 * An I/O address space: what is mapped where, for all page tables that devices use it through.
 *
 * @module
 */
import { EADDRINUSE, EDEADLK, EEXIST, EINVAL, ENOENT, EOPNOTSUPP, EOVERFLOW, EPERM } from "../../../core/uapi/errno.ts";
import { DMA_WRITE } from "../../hardware/iommu-domain.ts";
import { PAGE_SIZE } from "../address-space.ts";
import { DmaRecords } from "../vfio/dma-records.ts";
import { LAST_ADDRESS } from "../vfio/iova-ranges.ts";
import type { IommufdAccess } from "./access.ts";
import { Area } from "./area.ts";
import type { IommufdContext } from "./context.ts";
import type { Hwpt } from "./hwpt.ts";
import type { Span } from "./iova-allocation.ts";
import { IovaSpace } from "./iova-space.ts";
import { IommufdObject } from "./object.ts";
import type { Pages } from "./pages.ts";

/** Part of some pages. */
export interface PagesPart {
	readonly pages: Pages;
	/** Bytes. */
	readonly offset: bigint;
	/** Bytes. */
	readonly length: bigint;
}

/** What IOMMU_IOAS_ALLOC makes. Without a page table nothing of what is mapped is looked at. */
export class Ioas extends IommufdObject {
	/** What its mappings have to be aligned to, bytes. */
	alignment = 1n;
	/** No page of a page table may be larger than the smallest. */
	smallPagesOnly = false;
	/** Page tables, in the order in which they were made. */
	readonly hwpts: Hwpt[] = [];
	readonly accesses = new Set<IommufdAccess>();
	readonly #context: IommufdContext;
	readonly #areas = new DmaRecords<Area>();
	readonly #space = new IovaSpace();

	constructor(context: IommufdContext) {
		super();
		this.#context = context;
	}

	override destroy(): void {
		this.unmapAll();
		if (this.#context.compatible === this) this.#context.compatible = undefined;
	}

	/** In address order. */
	get areas(): readonly Area[] {
		return this.#areas.all;
	}

	/** What is mapped at an address. */
	areaAt(address: bigint): Area | undefined {
		return this.#areas.first(address, address);
	}

	/** What is not reserved, in order. */
	get ranges(): Span[] {
		return this.#space.ranges;
	}

	// ---- mapping ----

	/**
	 * Maps parts, one behind the other: all or none.
	 *
	 * @param at where; a free place is looked for when left out
	 * @param access bits of `DMA_READ` and `DMA_WRITE`
	 * @returns the first address, or -errno
	 */
	map(parts: readonly PagesPart[], at: bigint | undefined, access: number): bigint | number {
		const length = parts.reduce((total, part) => total + part.length, 0n);
		if (length === 0n || length % this.alignment !== 0n) return -EINVAL;
		const [first] = parts as readonly [PagesPart];
		const iova = at ?? this.#allocate(first.pages.start + first.offset, length);
		if (typeof iova === "number") return iova;
		const free = at === undefined ? 0 : this.#checkFixed(at, length);
		if (free < 0) return free;
		const added: Area[] = [];
		let next = iova;
		for (const part of parts) {
			const area = new Area(next, part.length, part.pages, part.offset, access);
			const refused = this.#refuses(area) || this.#fillAll(area);
			if (refused < 0) {
				for (const done of added) this.#remove(done);
				return refused;
			}
			this.#areas.add(area);
			area.pages.use();
			added.push(area);
			next += part.length;
		}
		return iova;
	}

	#allocate(address: bigint, length: bigint): bigint | number {
		const mapped = this.areas.map(({ iova, last }) => ({ start: iova, last }));
		return this.#space.allocate(address, length, this.alignment, mapped);
	}

	#checkFixed(iova: bigint, length: bigint): number {
		if (iova % this.alignment !== 0n) return -EINVAL;
		const last = iova + length - 1n;
		if (last > LAST_ADDRESS) return -EOVERFLOW;
		if (this.#space.reserves({ start: iova, last })) return -EINVAL;
		return this.#areas.first(iova, last) ? -EEXIST : 0;
	}

	#refuses(area: Area): number {
		if ((area.access & DMA_WRITE) !== 0 && !area.pages.writable) return -EPERM;
		return (area.start % BigInt(PAGE_SIZE)) % this.alignment === 0n ? 0 : -EINVAL;
	}

	/** What lies behind a range that is mapped without a gap. @returns -ENOENT where it is not */
	parts(iova: bigint, length: bigint): PagesPart[] | number {
		const last = iova + length - 1n;
		const parts: PagesPart[] = [];
		let next = iova;
		for (const area of this.#areas.touching(iova, last)) {
			if (area.iova > next) return -ENOENT;
			const end = area.last < last ? area.last : last;
			parts.push({ pages: area.pages, offset: area.offset + next - area.iova, length: end - next + 1n });
			next = end + 1n;
		}
		return next > last ? parts : -ENOENT;
	}

	/**
	 * Unmaps whole areas. What was unmapped before an error stays so.
	 *
	 * @returns why it stopped, 0 when all was unmapped; and the bytes that were
	 */
	unmap(start: bigint, last: bigint): { readonly answer: number; readonly bytes: bigint } {
		let bytes = 0n;
		for (const area of this.#areas.touching(start, last)) {
			if (area.iova < start || area.last > last) return { answer: -ENOENT, bytes };
			const reclaimed = this.#reclaim(area);
			if (reclaimed < 0) return { answer: reclaimed, bytes };
			this.#remove(area);
			bytes += area.size;
		}
		return { answer: 0, bytes };
	}

	/** Unmaps everything. @returns bytes */
	unmapAll(): bigint {
		return this.unmap(0n, LAST_ADDRESS).bytes;
	}

	/**
	 * Cuts the area that an address lies in, so that the address ends one. Nothing is cut at the first address of an area.
	 *
	 * @returns 0; -EOPNOTSUPP for memory of a file; -EINVAL where no page ends, or while a driver has part of it
	 */
	cutAfter(address: bigint): number {
		const area = this.areaAt(address);
		if (!area || area.iova === address || area.last === address) return 0;
		if (!area.pages.ofProcess) return -EOPNOTSUPP;
		const size = address - area.iova + 1n;
		const low = new Area(area.iova, size, area.pages, area.offset, area.access);
		const high = new Area(address + 1n, area.size - size, area.pages, area.offset + size, area.access);
		if (!aligned(high, this.alignment) || area.borrowed > 0) return -EINVAL;
		this.#areas.remove(area);
		for (const part of [low, high]) this.#areas.add(part);
		area.pages.use();
		const { pinned } = area;
		if (!pinned) return 0;
		// The page table keeps its entries; only who has pinned them changes.
		[low.pinned, high.pinned] = area.pages.split(pinned, area.offset, low.size, high.size);
		return 0;
	}

	/** Whoever has borrowed part of it is asked to give it back. */
	#reclaim(area: Area): number {
		if (area.borrowed > 0) for (const access of this.accesses) access.reclaim(area);
		return area.borrowed > 0 ? -EDEADLK : 0;
	}

	#remove(area: Area): void {
		this.#areas.remove(area);
		this.#emptyAll(area);
		area.pages.unuse();
	}

	// ---- page tables ----

	#fillAll(area: Area): number {
		if (this.hwpts.length === 0) return 0;
		// A page table has no entry that is there and allows nothing.
		if (area.access === 0) return -EINVAL;
		const pinned = area.pages.pin(area.offset, area.size);
		if (typeof pinned === "number") return pinned;
		area.pinned = pinned;
		for (const { domain } of this.hwpts) domain.map(area.iova, area.size, pinned.target, pinned.offset, area.access);
		return 0;
	}

	#emptyAll(area: Area): void {
		if (!area.pinned) return;
		for (const hwpt of this.hwpts) hwpt.unmap(area.iova, area.size);
		area.pinned.release();
		area.pinned = undefined;
	}

	/** A page table gets everything that is mapped, which is pinned with the first. @returns -errno, and nothing has changed */
	addHwpt(hwpt: Hwpt): number {
		const alignment = largest([hwpt.domain.pageSize, this.alignment]);
		if (this.areas.some((area) => !aligned(area, alignment))) return -EADDRINUSE;
		const aperture = this.reserve([{ start: hwpt.lastAddress + 1n, last: LAST_ADDRESS }], hwpt);
		if (aperture < 0) return aperture;
		const filled = this.#fill(hwpt);
		if (filled < 0) {
			this.unreserve(hwpt);
			return filled;
		}
		this.hwpts.push(hwpt);
		this.alignment = alignment;
		return 0;
	}

	#fill({ domain }: Hwpt): number {
		const pinnedNow: Area[] = [];
		for (const area of this.areas) {
			const pinned = area.access === 0 ? -EINVAL : (area.pinned ?? area.pages.pin(area.offset, area.size));
			if (typeof pinned === "number") {
				domain.clear();
				for (const done of pinnedNow) {
					done.pinned?.release();
					done.pinned = undefined;
				}
				return pinned;
			}
			if (!area.pinned) pinnedNow.push(area);
			area.pinned = pinned;
			domain.map(area.iova, area.size, pinned.target, pinned.offset, area.access);
		}
		return 0;
	}

	/** A page table goes, if it was ever filled. With the last one everything is let go. */
	removeHwpt(hwpt: Hwpt): void {
		const at = this.hwpts.indexOf(hwpt);
		if (at < 0) return;
		this.hwpts.splice(at, 1);
		hwpt.domain.clear();
		this.unreserve(hwpt);
		if (this.hwpts.length === 0)
			for (const area of this.areas) {
				area.pinned?.release();
				area.pinned = undefined;
			}
		this.#align();
	}

	/** What the page tables and their devices now ask of mappings. */
	#align(): void {
		const wanted = [this.smallPagesOnly ? BigInt(PAGE_SIZE) : 1n, ...this.hwpts.map(({ domain }) => domain.pageSize)];
		for (const access of this.accesses) wanted.push(access.alignment);
		this.alignment = largest(wanted);
	}

	/** Huge pages off: only while no page table has anything in it. @returns 0, -EINVAL or -EADDRINUSE */
	useSmallPagesOnly(): number {
		if (this.smallPagesOnly) return 0;
		if (this.hwpts.length > 0 && this.areas.length > 0) return -EINVAL;
		if (this.areas.some((area) => !aligned(area, BigInt(PAGE_SIZE)))) return -EADDRINUSE;
		this.smallPagesOnly = true;
		this.#align();
		return 0;
	}

	/** Huge pages on again. */
	useAllPages(): void {
		this.smallPagesOnly = false;
		this.#align();
	}

	/** A device that has no DMA of its own uses this address space. @returns 0 or -EADDRINUSE */
	addAccess(access: IommufdAccess): number {
		if (this.areas.some((area) => !aligned(area, access.alignment))) return -EADDRINUSE;
		this.accesses.add(access);
		this.#align();
		return 0;
	}

	removeAccess(access: IommufdAccess): void {
		this.accesses.delete(access);
		this.#align();
	}

	// ---- reserved and allowed addresses ----

	/** Takes addresses from what can be mapped. @returns -EADDRINUSE when they are mapped or promised already */
	reserve(spans: readonly Span[], owner: object): number {
		return this.#space.reserve(spans, owner, ({ start, last }) => this.#areas.first(start, last) !== undefined);
	}

	unreserve(owner: object): void {
		this.#space.unreserve(owner);
	}

	/** Where free places are looked for. @returns 0, -EINVAL when they overlap, -EADDRINUSE when one is reserved */
	allow(spans: readonly Span[]): number {
		return this.#space.allow(spans);
	}
}

function aligned(area: Area, alignment: bigint): boolean {
	return (area.iova | area.size | (area.start % BigInt(PAGE_SIZE))) % alignment === 0n;
}

function largest(numbers: readonly bigint[]): bigint {
	let found = 0n;
	for (const number of numbers) if (number > found) found = number;
	return found;
}
