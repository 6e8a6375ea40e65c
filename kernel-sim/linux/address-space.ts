/**
 * A process's memory as the kernel sees it: something to read, write and pin at an address.
 *
 * @module
 */
import { KernelError } from "../../core/errors.ts";
import type { Memory } from "../../core/kernel.ts";
import { Releases } from "../../core/release.ts";
import { EFAULT, EINVAL, ENOMEM } from "../../core/uapi/errno.ts";
import { PROT_READ, PROT_WRITE } from "../../core/uapi/fcntl.ts";
import type { DmaTarget } from "../hardware/iommu-domain.ts";
import { RegionDmaTarget, type RegionMapping } from "./region-mapping.ts";

export const PAGE_SIZE = 4096;
/** User space ends here on x86-64 with four-level page tables. */
export const TASK_SIZE = 0x7fff_ffff_f000n;

/** Memory that DMA may use until it is let go, whatever the process does with its address. */
export interface PinnedMemory {
	readonly target: DmaTarget;
	/** Where in the target it starts, bytes. */
	readonly offset: number;
	/** Whether it counts against RLIMIT_MEMLOCK: device memory does not. */
	readonly accounted: boolean;
	release(): void;
}

/** A process's memory. In-process buffers are one implementation of it. */
export interface AddressSpace {
	/** Pages charged against RLIMIT_MEMLOCK: VmLck. */
	lockedPages: number;
	/** Pages that iommufd has pinned: VmPin. */
	pinnedPages: number;
	/** @returns a view of the bytes, undefined when not all of them can be read: EFAULT */
	read(address: bigint, length: number): Uint8Array | undefined;
	/** @returns false when not all of them can be written: EFAULT */
	write(address: bigint, bytes: Uint8Array): boolean;
	/** @param write the device will write to it @returns -EFAULT when not all of it is there with that permission */
	pin(address: bigint, length: bigint, write: boolean): PinnedMemory | number;
}

/** A stretch of addresses with one kind of memory behind it. */
interface Area {
	readonly start: bigint;
	/** Bytes, whole pages. Adopted memory grows. */
	readonly size: bigint;
	readonly protection: number;
	readonly target: DmaTarget;
	readonly offset: number;
	readonly mapping: RegionMapping | undefined;
}

/** Between two areas, so that running off the end of one is noticed. */
const GUARD = BigInt(PAGE_SIZE);
/** What an adopted buffer that can be remade may grow to. */
const GROWTH = 1n << 34n;

function wholePages(length: number): bigint {
	return BigInt(Math.ceil(length / PAGE_SIZE) * PAGE_SIZE);
}

class BytesArea implements Area {
	readonly start: bigint;
	readonly protection: number;
	readonly target: DmaTarget;
	readonly offset = 0;
	readonly mapping = undefined;

	constructor(start: bigint, protection: number, target: DmaTarget) {
		this.start = start;
		this.protection = protection;
		this.target = target;
	}

	get size(): bigint {
		return wholePages(this.target.bytes().length);
	}
}

/** Memory that is made of buffers of this JavaScript program, at addresses that are made up. */
export class ProcessMemory implements AddressSpace {
	lockedPages = 0;
	pinnedPages = 0;
	/** In address order. */
	readonly #areas: Area[] = [];
	#next: bigint;

	/** @param base where the first area goes */
	constructor(base: bigint) {
		this.#next = base;
	}

	/** How many areas are memory of the process, and how many are regions of devices. */
	count(): { memory: number; mappings: number } {
		const mappings = this.#areas.filter((area) => area.mapping).length;
		return { memory: this.#areas.length - mappings, mappings };
	}

	/** The regions of devices that are mapped, in address order. */
	get mappings(): readonly RegionMapping[] {
		return this.#areas.flatMap((area) => area.mapping ?? []);
	}

	/** @throws KernelError EINVAL for 0 bytes, ENOMEM when there is not so much */
	allocate(length: number, protection = PROT_READ | PROT_WRITE): Memory {
		if (!Number.isSafeInteger(length) || length <= 0) throw new KernelError(EINVAL, "mmap", `${length} bytes`);
		let bytes: Uint8Array;
		try {
			bytes = new Uint8Array(Number(wholePages(length)));
		} catch {
			throw new KernelError(ENOMEM, "mmap", `${length} bytes`);
		}
		return this.#memory(new BytesArea(this.#next, protection, { bytes: () => bytes }), 0n);
	}

	/** Gives a buffer that exists an address. */
	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		const bytes = typeof buffer === "function" ? buffer : () => buffer;
		const area = new BytesArea(this.#next, PROT_READ | PROT_WRITE, { bytes });
		return this.#memory(area, typeof buffer === "function" ? GROWTH : 0n);
	}

	/** Gives a device's region an address. */
	map(mapping: RegionMapping): void {
		const { region, protection } = mapping;
		const target = region.dma?.target ?? new RegionDmaTarget(region);
		const area: Area = {
			start: this.#next,
			size: wholePages(mapping.length),
			protection,
			target,
			offset: region.dma?.offset ?? 0,
			mapping,
		};
		this.#insert(area, 0n);
		mapping.place(area.start, () => this.#remove(area));
	}

	read(address: bigint, length: number): Uint8Array | undefined {
		return this.#bytes(address, length, PROT_READ);
	}

	write(address: bigint, bytes: Uint8Array): boolean {
		const there = this.#bytes(address, bytes.length, PROT_WRITE);
		there?.set(bytes);
		return there !== undefined;
	}

	pin(address: bigint, length: bigint, write: boolean): PinnedMemory | number {
		const area = this.#find(address);
		const needed = write ? PROT_WRITE : PROT_READ;
		if (!area || (area.protection & needed) === 0) return -EFAULT;
		const at = address - area.start;
		if (at + length > area.size) return -EFAULT;
		// Nothing to let go: the target keeps the bytes alive, as a page's reference count does.
		return { target: area.target, offset: area.offset + Number(at), accounted: !area.mapping, release() {} };
	}

	/** What fork(2) gives the child: copies of buffers, the same regions of devices, all at the same addresses. */
	fork(): ProcessMemory {
		const child = new ProcessMemory(this.#next);
		for (const area of this.#areas) {
			if (area.mapping) {
				const mapping = area.mapping.duplicate();
				const copy: Area = { ...area, mapping };
				child.#areas.push(copy);
				mapping.place(copy.start, () => child.#remove(copy));
			} else {
				const bytes = area.target.bytes().slice();
				child.#areas.push(new BytesArea(area.start, area.protection, { bytes: () => bytes }));
			}
		}
		return child;
	}

	/** The process is gone: everything is unmapped. */
	clear(): void {
		const releases = new Releases();
		releases.defer(() => {
			this.#areas.length = 0;
		});
		for (const mapping of [...this.mappings].reverse()) releases.use(mapping);
		releases[Symbol.dispose]();
	}

	#memory(area: BytesArea, growth: bigint): Memory {
		const { target } = area;
		this.#insert(area, growth);
		return {
			address: area.start,
			get length() {
				return target.bytes().length;
			},
			get bytes() {
				return target.bytes();
			},
			[Symbol.dispose]: () => this.#remove(area),
		};
	}

	/** Areas are handed out upwards, so the new one is always the last. */
	#insert(area: Area, growth: bigint): void {
		this.#areas.push(area);
		this.#next = area.start + (growth > area.size ? growth : area.size) + GUARD;
	}

	#remove(area: Area): void {
		const at = this.#areas.indexOf(area);
		if (at >= 0) this.#areas.splice(at, 1);
	}

	#bytes(address: bigint, length: number, access: number): Uint8Array | undefined {
		const area = this.#find(address);
		if (!area || area.mapping || (area.protection & access) === 0) return undefined;
		const at = Number(address - area.start);
		const bytes = area.target.bytes();
		return at + length <= bytes.length ? bytes.subarray(at, at + length) : undefined;
	}

	#find(address: bigint): Area | undefined {
		let low = 0;
		let high = this.#areas.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if ((this.#areas[middle] as Area).start <= address) low = middle + 1;
			else high = middle;
		}
		const area = this.#areas[low - 1];
		return area && address < area.start + area.size ? area : undefined;
	}
}
