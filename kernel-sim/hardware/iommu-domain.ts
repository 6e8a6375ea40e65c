/**
 * An I/O page table: which I/O virtual addresses a device may read and write, and what is behind them.
 *
 * @module
 */

/** What a mapping leads to. */
export interface DmaTarget {
	/** The bytes of pinned memory. Taken anew at each access, because adopted buffers move when they grow. */
	bytes(): Uint8Array;
	/** Registers behind a mapping (peer-to-peer DMA): used instead of {@link bytes}. @returns false: nobody answered */
	read?(offset: number, into: Uint8Array): boolean;
	write?(offset: number, from: Uint8Array): boolean;
}

/** Notes what devices write to. */
export interface DirtyLog {
	/** @param length bytes, not 0 */
	mark(address: bigint, length: number): void;
}

/** The device may read through the mapping. */
export const DMA_READ = 1;
/** The device may write through the mapping. */
export const DMA_WRITE = 2;

/** One entry of an {@link IommuDomain}. */
export class DmaMapping {
	readonly iova: bigint;
	/** Bytes. */
	readonly size: bigint;
	readonly target: DmaTarget;
	/** Where in the target it starts, bytes. */
	readonly targetOffset: number;
	/** Bits {@link DMA_READ} and {@link DMA_WRITE}. */
	readonly access: number;
	/** The first address and the one past the last as numbers: exact below 2^53, and above it never taken for less. */
	readonly first: number;
	readonly end: number;

	constructor(iova: bigint, size: bigint, target: DmaTarget, targetOffset: number, access: number) {
		this.iova = iova;
		this.size = size;
		this.target = target;
		this.targetOffset = targetOffset;
		this.access = access;
		this.first = Number(iova);
		this.end = Number(iova + size);
	}

	/** Bytes from the mapping's start to `address`, which lies in it. */
	offsetOf(address: bigint): number {
		// Below 2^53 a subtraction of numbers is exact and allocates no bigint.
		const at = Number(address);
		return at <= Number.MAX_SAFE_INTEGER ? at - this.first : Number(address - this.iova);
	}
}

/**
 * A translation that any number of functions can share.
 *
 * @example
 * ```ts
 * const domain = new IommuDomain();
 * const page = new Uint8Array(4096);
 * domain.map(0x1000n, 0x1000n, { bytes: () => page }, 0, DMA_READ | DMA_WRITE);
 * machine.iommu.attach(nvme, domain);
 * ```
 */
export class IommuDomain {
	/** Bytes of the smallest page. */
	readonly pageSize: bigint;
	/** Told of every write, when there is one. */
	dirty: DirtyLog | undefined;
	/** In address order, disjoint. */
	readonly #mappings: DmaMapping[] = [];
	/** The mapping of the last translation: DMA is local. */
	#last: DmaMapping | undefined;

	constructor(options: { pageSize?: bigint } = {}) {
		this.pageSize = options.pageSize ?? 4096n;
	}

	/** In address order. */
	get mappings(): readonly DmaMapping[] {
		return this.#mappings;
	}

	/**
	 * Makes `[iova, iova + size)` lead to the target.
	 *
	 * @param iova a multiple of the page size
	 * @param size bytes, a multiple of the page size, not 0
	 * @param targetOffset bytes
	 * @param access bits {@link DMA_READ} and {@link DMA_WRITE}
	 * @throws RangeError when it is misaligned, beyond 64 bits or overlaps a mapping
	 */
	map(iova: bigint, size: bigint, target: DmaTarget, targetOffset: number, access: number): void {
		this.#check("map", iova, size);
		const at = this.#indexAfter(iova);
		const before = this.#mappings[at - 1];
		const after = this.#mappings[at];
		if ((before && before.iova + before.size > iova) || (after && after.iova < iova + size))
			throw new RangeError(`Cannot map 0x${iova.toString(16)}: something is mapped there`);
		this.#mappings.splice(at, 0, new DmaMapping(iova, size, target, targetOffset, access));
	}

	/**
	 * Removes what is mapped in `[iova, iova + size)`; a mapping that reaches out of it keeps the rest.
	 *
	 * @throws RangeError when it is misaligned or beyond 64 bits
	 */
	unmap(iova: bigint, size: bigint): void {
		this.#check("unmap", iova, size);
		const end = iova + size;
		let from = this.#indexAfter(iova);
		const before = this.#mappings[from - 1];
		if (before && before.iova + before.size > iova) from--;
		let to = from;
		const rest: DmaMapping[] = [];
		for (; to < this.#mappings.length; to++) {
			const mapping = this.#mappings[to];
			if (!mapping || mapping.iova >= end) break;
			const { target, targetOffset, access } = mapping;
			const tail = mapping.iova + mapping.size - end;
			if (mapping.iova < iova)
				rest.push(new DmaMapping(mapping.iova, iova - mapping.iova, target, targetOffset, access));
			if (tail > 0n) rest.push(new DmaMapping(end, tail, target, targetOffset + Number(end - mapping.iova), access));
		}
		this.#mappings.splice(from, to - from, ...rest);
		this.#last = undefined;
	}

	/** Removes everything. */
	clear(): void {
		this.#mappings.length = 0;
		this.#last = undefined;
	}

	/** The mapping that contains the address, or undefined. */
	find(address: bigint): DmaMapping | undefined {
		const at = Number(address);
		if (at > Number.MAX_SAFE_INTEGER) return this.#findBeyondNumbers(address);
		const last = this.#last;
		if (last && at >= last.first && at < last.end) return last;
		let low = 0;
		let high = this.#mappings.length - 1;
		while (low <= high) {
			const middle = (low + high) >>> 1;
			const mapping = this.#mappings[middle] as DmaMapping;
			if (at < mapping.first) high = middle - 1;
			else if (at >= mapping.end) low = middle + 1;
			else {
				this.#last = mapping;
				return mapping;
			}
		}
		return undefined;
	}

	#findBeyondNumbers(address: bigint): DmaMapping | undefined {
		const mapping = this.#mappings[this.#indexAfter(address) - 1];
		return mapping && address < mapping.iova + mapping.size ? mapping : undefined;
	}

	/** How many mappings start at or before the address. */
	#indexAfter(address: bigint): number {
		let low = 0;
		let high = this.#mappings.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if ((this.#mappings[middle] as DmaMapping).iova <= address) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	#check(action: string, iova: bigint, size: bigint): void {
		if (iova < 0n || size <= 0n || iova + size > 1n << 64n)
			throw new RangeError(
				`Cannot ${action} 0x${size.toString(16)} bytes at 0x${iova.toString(16)}: not a range of 64 bits`,
			);
		if ((iova | size) % this.pageSize !== 0n)
			throw new RangeError(
				`Cannot ${action} 0x${size.toString(16)} bytes at 0x${iova.toString(16)}: not whole pages of ${this.pageSize}`,
			);
	}
}
