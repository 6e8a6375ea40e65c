/**
 * Memory of a file behind mappings: a dma-buf, which is part of a device's BAR.
 *
 * @module
 */
import { EINVAL, ENODEV, EOPNOTSUPP } from "../../../core/uapi/errno.ts";
import type { DmaTarget } from "../../hardware/iommu-domain.ts";
import type { PinnedMemory } from "../address-space.ts";
import type { OpenFile } from "../file.ts";
import type { PageSource } from "./pages.ts";

/** Somebody who has imported a file's memory. */
export interface Import {
	/** The memory may not be used any more. It does not come back: whoever wants it imports it again. */
	revoke(): void;
}

/** A file that a device's driver exports memory as. */
export interface ExportedMemory extends OpenFile {
	/** How many stretches it is made of: only a single one can be mapped. */
	readonly stretches: number;
	/** Bytes. */
	readonly size: number;
	/** It may not be imported now. */
	readonly revoked: boolean;
	/** Who has it. */
	readonly imports: Set<Import>;
	/** The memory. Nobody answers while it is revoked. */
	readonly target: DmaTarget;
}

/** Part of an exported file. It stays open for as long. Once it is revoked, nothing is behind the mappings any more. */
export class FilePages implements PageSource, Import, DmaTarget {
	readonly #file: ExportedMemory;
	readonly #start: bigint;
	#revoked = false;

	private constructor(file: ExportedMemory, start: bigint) {
		this.#file = file;
		this.#start = start;
		file.reference();
		file.imports.add(this);
	}

	/** @returns -EINVAL for a file that is no such export, or not so long; -EOPNOTSUPP, -ENODEV */
	static of(file: OpenFile, start: bigint, length: bigint): FilePages | number {
		if (!isExport(file)) return -EINVAL;
		if (file.stretches !== 1) return -EOPNOTSUPP;
		if (start + length > BigInt(file.size)) return -EINVAL;
		return file.revoked ? -ENODEV : new FilePages(file, start);
	}

	/** A page table that comes after the memory was revoked gets none of it, and no error. */
	pin(offset: bigint): PinnedMemory {
		return { target: this, offset: Number(this.#start + offset), accounted: false, release() {} };
	}

	bytes(): Uint8Array {
		return this.#file.target.bytes();
	}

	read(offset: number, into: Uint8Array): boolean {
		return !this.#revoked && this.#file.target.read?.(offset, into) === true;
	}

	write(offset: number, from: Uint8Array): boolean {
		return !this.#revoked && this.#file.target.write?.(offset, from) === true;
	}

	revoke(): void {
		this.#revoked = true;
	}

	release(): void {
		this.#file.imports.delete(this);
		this.#file.unreference();
	}
}

function isExport(file: OpenFile): file is ExportedMemory {
	return "stretches" in file && "target" in file;
}
