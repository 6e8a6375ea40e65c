/**
 * Memory as devices see it that no IOMMU stands before, and what tells a program where its own is.
 *
 * A page of a process has its virtual address as its physical one: each process has addresses of its own here, and a forked
 * child, which has those of its parent, is found only when the parent is gone.
 *
 * @module
 */
import { EIO } from "../../core/uapi/errno.ts";
import { DMA_READ, DMA_WRITE, DmaMapping, IommuDomain } from "../hardware/iommu-domain.ts";
import { PAGE_SIZE } from "./address-space.ts";
import { OpenFile } from "./file.ts";
import type { SimProcess } from "./process.ts";

const PAGE = BigInt(PAGE_SIZE);

/** What the DMA of a device without an IOMMU goes through: the memory of all processes. */
export class PhysicalMemory extends IommuDomain {
	readonly #processes: () => readonly SimProcess[];

	constructor(processes: () => readonly SimProcess[]) {
		super();
		this.#processes = processes;
	}

	/** The page that an address lies in. */
	override find(address: bigint): DmaMapping | undefined {
		const page = address - (address % PAGE);
		for (const { memory } of this.#processes()) {
			const pinned = memory.pin(page, PAGE, false);
			if (typeof pinned !== "number")
				return new DmaMapping(page, PAGE, pinned.target, pinned.offset, DMA_READ | DMA_WRITE);
		}
		return undefined;
	}
}

/** Bytes of an entry. */
const ENTRY = 8;
const PRESENT = 1n << 63n;

/** /proc/self/pagemap: for each page of a process where in memory it is (Linux's admin-guide/mm/pagemap.rst). */
export class PagemapFile extends OpenFile {
	constructor() {
		super("/proc/self/pagemap");
	}

	/** Whole entries. Without CAP_SYS_ADMIN they say that a page is there, but not where. */
	override pread(process: SimProcess, buffer: Uint8Array, offset: number): number {
		if (offset % ENTRY !== 0 || buffer.length % ENTRY !== 0) return -EIO;
		const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
		for (let at = 0; at < buffer.length; at += ENTRY) {
			const frame = BigInt((offset + at) / ENTRY);
			const there = typeof process.memory.pin(frame * PAGE, PAGE, false) !== "number";
			const shown = there ? PRESENT | (process.capable("CAP_SYS_ADMIN") ? frame : 0n) : 0n;
			view.setBigUint64(at, shown, true);
		}
		return buffer.length;
	}
}
