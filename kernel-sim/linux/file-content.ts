/**
 * What is in a file of sysfs, procfs or /dev: callbacks that run when it is read and written.
 *
 * @module
 */
import { EACCES, EIO } from "../../core/uapi/errno.ts";
import type { OpenFile } from "./file.ts";
import type { SimProcess } from "./process.ts";
import type { RegionMapping } from "./region-mapping.ts";
import type { Sleep } from "./sleep.ts";
import { decodeText, encodeText } from "./text.ts";

/** A regular file. */
export interface FileContent {
	/**
	 * @param opener who opened it: some files show less to some
	 * @returns the whole content, or -errno
	 */
	read?(opener: SimProcess): Uint8Array | number;
	/**
	 * One write(2).
	 *
	 * @returns how many bytes were taken, or -errno, or a sleep
	 */
	write?(opener: SimProcess, bytes: Uint8Array, offset: number): number | Sleep;
	/** A pread(2) for a file that has no whole, in place of {@link read}. @returns how many bytes were read, or -errno */
	readAt?(into: Uint8Array, offset: number): number;
	/** mmap(2), for a file that can be mapped. @param file holds the mapping @returns -errno when this cannot be */
	mmap?(file: OpenFile, length: number, protection: number, offset: number): RegionMapping | number;
}

/** A device node. @returns the open file, or -errno */
export type DeviceOpen = (process: SimProcess, flags: number) => OpenFile | number;

/** How a sysfs attribute is shown and stored. */
export interface AttributeOptions {
	/** @returns the text, with its newline; or -errno */
	readonly show?: (process: SimProcess) => string | number;
	/** @returns 0 when the text was taken, -errno, or a sleep */
	readonly store?: (text: string, process: SimProcess) => number | Sleep;
}

/** A text attribute: one value, shown whole and stored by one write. */
export class Attribute implements FileContent {
	readonly #options: AttributeOptions;

	constructor(options: AttributeOptions) {
		this.#options = options;
	}

	read(opener: SimProcess): Uint8Array | number {
		const text = this.#options.show?.(opener) ?? -EIO;
		return typeof text === "number" ? text : encodeText(text);
	}

	write(opener: SimProcess, bytes: Uint8Array): number | Sleep {
		const result = this.#options.store?.(decodeText(bytes), opener) ?? -EACCES;
		return result === 0 ? bytes.length : result;
	}

	/** The mode that such an attribute has by convention. */
	get mode(): number {
		return (this.#options.show ? 0o444 : 0) | (this.#options.store ? 0o200 : 0);
	}
}
