/**
 * /dev/null.
 *
 * @module
 */
import { OpenFile } from "./file.ts";
import type { SimProcess } from "./process.ts";

/** Reads as nothing, and takes everything. */
export class NullFile extends OpenFile {
	constructor() {
		super("/dev/null");
	}

	override pread(): number {
		return 0;
	}

	override pwrite(_process: SimProcess, buffer: Uint8Array): number {
		return buffer.length;
	}
}
