/**
 * Namespaces: the blocks that a controller reads and writes, in memory or in something like a file.
 *
 * @module
 */

/**
 * A stretch of blocks. Offsets and lengths are bytes, whole blocks, and inside `size`: the controller has checked them.
 * No method throws: a failure is an answer.
 */
export interface Namespace {
	/** Bytes, a multiple of the block size. */
	readonly size: number;
	/** Bytes of a logical block. */
	readonly blockSize: 512 | 4096;
	/** Refuses writes. */
	readonly readOnly?: boolean;
	/** @returns false when the medium failed */
	read(offset: number, into: Uint8Array): boolean;
	/** @returns false when the medium failed */
	write(offset: number, from: Uint8Array): boolean;
	/** Makes a stretch read as zeroes. @returns false when the medium failed */
	zero(offset: number, length: number): boolean;
	/** Makes earlier writes permanent. @returns false when the medium failed */
	flush(): boolean;
	/** The controller is gone: files may be closed. */
	close?(): void;
}

const PAGE = 4096;

/** Options of {@link MemoryNamespace}. */
export interface MemoryNamespaceOptions {
	/** Bytes of a logical block, 512 when left out. */
	readonly blockSize?: 512 | 4096;
	readonly readOnly?: boolean;
	/** What a page of 4096 bytes holds before anything is written to it; zeroes when left out. Must be a function of the offset only. */
	readonly content?: (offset: number, into: Uint8Array) => void;
}

/**
 * Blocks in memory. Only pages that were written take room, so a disk of a terabyte costs nothing.
 *
 * @example
 * ```ts
 * const disk = new MemoryNamespace(64 * 1024 * 1024, { content: patternContent });
 * ```
 */
export class MemoryNamespace implements Namespace {
	readonly size: number;
	readonly blockSize: 512 | 4096;
	readonly readOnly: boolean;
	readonly #content: ((offset: number, into: Uint8Array) => void) | undefined;
	/** Pages that differ from the initial content, by page number. */
	readonly #pages = new Map<number, Uint8Array>();
	readonly #page = new Uint8Array(PAGE);

	/** @param size bytes, rounded up to a whole page of 4096 */
	constructor(size: number, options: MemoryNamespaceOptions = {}) {
		this.size = Math.ceil(size / PAGE) * PAGE;
		this.blockSize = options.blockSize ?? 512;
		this.readOnly = options.readOnly ?? false;
		this.#content = options.content;
	}

	/** How many bytes of memory the written pages take. */
	get resident(): number {
		return this.#pages.size * PAGE;
	}

	read(offset: number, into: Uint8Array): boolean {
		this.#each(offset, into.length, (page, inPage, start, length) => {
			const bytes = this.#pages.get(page) ?? this.#initial(page);
			into.set(bytes.subarray(inPage, inPage + length), start);
		});
		return true;
	}

	write(offset: number, from: Uint8Array): boolean {
		this.#each(offset, from.length, (page, inPage, start, length) => {
			this.#own(page).set(from.subarray(start, start + length), inPage);
		});
		return true;
	}

	zero(offset: number, length: number): boolean {
		this.#each(offset, length, (page, inPage, _start, piece) => {
			if (piece === PAGE && this.#content === undefined) this.#pages.delete(page);
			else if (this.#content !== undefined || this.#pages.has(page)) this.#own(page).fill(0, inPage, inPage + piece);
		});
		return true;
	}

	flush(): boolean {
		return true;
	}

	/** Forgets every write. */
	clear(): void {
		this.#pages.clear();
	}

	#initial(page: number): Uint8Array {
		if (this.#content === undefined) this.#page.fill(0);
		else this.#content(page * PAGE, this.#page);
		return this.#page;
	}

	#own(page: number): Uint8Array {
		const owned = this.#pages.get(page);
		if (owned !== undefined) return owned;
		const fresh = this.#initial(page).slice();
		this.#pages.set(page, fresh);
		return fresh;
	}

	#each(
		offset: number,
		length: number,
		visit: (page: number, inPage: number, start: number, length: number) => void,
	): void {
		let done = 0;
		while (done < length) {
			const at = offset + done;
			const inPage = at % PAGE;
			const piece = Math.min(PAGE - inPage, length - done);
			visit((at - inPage) / PAGE, inPage, done, piece);
			done += piece;
		}
	}
}

/** Initial content where each 8 bytes hold their own offset, little-endian: a reader sees at once what it got. */
export function patternContent(offset: number, into: Uint8Array): void {
	const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
	// Two words instead of a bigint: this runs for every page that is read.
	for (let at = 0; at < into.length; at += 8) {
		view.setUint32(at, offset + at, true);
		view.setUint32(at + 4, Math.floor((offset + at) / 2 ** 32), true);
	}
}

/** What {@link FileNamespace} needs of a file. The caller opens and closes it: this room knows no file system. */
export interface BlockFile {
	/** Bytes. */
	readonly size: number;
	/** Fills `into` from `offset`. @returns bytes read, fewer at the end of the file */
	read(offset: number, into: Uint8Array): number;
	/** @returns bytes written */
	write(offset: number, from: Uint8Array): number;
	/** fsync(2), where it matters. */
	flush?(): void;
	close?(): void;
}

const ZEROES = 64 * 1024;

/**
 * Blocks in a file. Whatever the file throws becomes a media error of the command: a full disk must not end the VMM.
 *
 * @example
 * ```ts
 * const fd = fs.openSync("disk.img", "r+");
 * const disk = new FileNamespace({
 *   size: fs.fstatSync(fd).size,
 *   read: (offset, into) => fs.readSync(fd, into, 0, into.length, offset),
 *   write: (offset, from) => fs.writeSync(fd, from, 0, from.length, offset),
 *   close: () => fs.closeSync(fd),
 * });
 * ```
 */
export class FileNamespace implements Namespace {
	readonly size: number;
	readonly blockSize: 512 | 4096;
	readonly readOnly: boolean;
	readonly #file: BlockFile;

	constructor(file: BlockFile, options: { readonly blockSize?: 512 | 4096; readonly readOnly?: boolean } = {}) {
		this.#file = file;
		this.blockSize = options.blockSize ?? 512;
		this.readOnly = options.readOnly ?? false;
		// A last block that is not whole cannot be addressed.
		this.size = Math.floor(file.size / this.blockSize) * this.blockSize;
	}

	read(offset: number, into: Uint8Array): boolean {
		return this.#whole(into, (done) => this.#file.read(offset + done, into.subarray(done)));
	}

	write(offset: number, from: Uint8Array): boolean {
		return this.#whole(from, (done) => this.#file.write(offset + done, from.subarray(done)));
	}

	zero(offset: number, length: number): boolean {
		const zeroes = new Uint8Array(Math.min(length, ZEROES));
		for (let done = 0; done < length; done += ZEROES)
			if (!this.write(offset + done, zeroes.subarray(0, Math.min(ZEROES, length - done)))) return false;
		return true;
	}

	flush(): boolean {
		try {
			this.#file.flush?.();
			return true;
		} catch {
			return false;
		}
	}

	close(): void {
		this.#file.close?.();
	}

	/** read(2) and write(2) may move fewer bytes than asked; one that moves none has failed. */
	#whole(bytes: Uint8Array, piece: (done: number) => number): boolean {
		try {
			for (let done = 0; done < bytes.length; ) {
				const moved = piece(done);
				if (!(moved > 0)) return false;
				done += moved;
			}
			return true;
		} catch {
			return false;
		}
	}
}
