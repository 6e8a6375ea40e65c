/**
 * A regular file of sysfs or procfs, opened.
 *
 * @module
 */
import { EACCES, EDEADLK, ENODEV } from "../../core/uapi/errno.ts";
import { OpenFile } from "./file.ts";
import type { FileContent } from "./file-content.ts";
import type { SimProcess } from "./process.ts";
import type { RegionMapping } from "./region-mapping.ts";
import { Sleep } from "./sleep.ts";

/** What may be seen is decided by who opened it, not by who reads. */
export class SysfsFile extends OpenFile {
	readonly #content: FileContent;
	readonly #opener: SimProcess;

	constructor(path: string, content: FileContent, opener: SimProcess) {
		super(path);
		this.#content = content;
		this.#opener = opener;
	}

	/** The whole content. @returns -errno when it cannot be read */
	readWhole(): Uint8Array | number {
		return this.#content.read?.(this.#opener) ?? -EACCES;
	}

	override pread(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		if (this.#content.readAt) return this.#content.readAt(buffer, offset);
		const content = this.readWhole();
		if (typeof content === "number") return content;
		const part = content.subarray(offset, offset + buffer.length);
		buffer.set(part);
		return part.length;
	}

	/** A write that may have to wait. */
	store(bytes: Uint8Array, offset: number): number | Sleep {
		// Nobody is told of a write of nothing.
		if (bytes.length === 0) return 0;
		return this.#content.write?.(this.#opener, bytes, offset) ?? -EACCES;
	}

	override pwrite(_process: SimProcess, buffer: Uint8Array, offset: number): number {
		const result = this.store(buffer, offset);
		// The only thread there is would wait for itself. What was begun goes on.
		return result instanceof Sleep ? -EDEADLK : result;
	}

	override mmap(
		_process: SimProcess,
		length: number,
		protection: number,
		_flags: number,
		offset: number,
	): RegionMapping | number {
		return this.#content.mmap?.(this, length, protection, offset) ?? -ENODEV;
	}
}
