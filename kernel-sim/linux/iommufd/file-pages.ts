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

/** A file that a device's driver exports memory as. */
export interface ExportedMemory extends OpenFile {
	/** How many stretches it is made of: only a single one can be mapped. */
	readonly stretches: number;
	/** Bytes. */
	readonly size: number;
	/** It may not be used now. */
	readonly revoked: boolean;
	/** The memory. Nobody answers while it is revoked. */
	readonly target: DmaTarget;
}

/** Part of an exported file. It stays open for as long. */
export class FilePages implements PageSource {
	readonly #file: ExportedMemory;
	readonly #start: bigint;

	private constructor(file: ExportedMemory, start: bigint) {
		this.#file = file;
		this.#start = start;
		file.reference();
	}

	/** @returns -EINVAL for a file that is no such export, or not so long; -EOPNOTSUPP, -ENODEV */
	static of(file: OpenFile, start: bigint, length: bigint): FilePages | number {
		if (!isExport(file)) return -EINVAL;
		if (file.stretches !== 1) return -EOPNOTSUPP;
		if (start + length > BigInt(file.size)) return -EINVAL;
		return file.revoked ? -ENODEV : new FilePages(file, start);
	}

	pin(offset: bigint): PinnedMemory | number {
		if (this.#file.revoked) return -ENODEV;
		const { target } = this.#file;
		return { target, offset: Number(this.#start + offset), accounted: false, release() {} };
	}

	release(): void {
		this.#file.unreference();
	}
}

function isExport(file: OpenFile): file is ExportedMemory {
	return "stretches" in file && "target" in file;
}
