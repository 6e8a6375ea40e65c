/**
 * Open files: what a file descriptor, a mapping or another kernel object refers to.
 *
 * @module
 */
import { Releases } from "../../core/release.ts";
import { EINVAL, ENODEV, ENOTTY } from "../../core/uapi/errno.ts";
import { O_ACCMODE, O_RDONLY, O_RDWR, O_WRONLY } from "../../core/uapi/fcntl.ts";
import type { SimProcess } from "./process.ts";
import type { RegionMapping } from "./region-mapping.ts";

/** The third argument of ioctl(2): an integer, or a pointer to the caller's memory. */
export interface IoctlArgument {
	/** The argument as an integer; a pointer is one that no request knows. */
	readonly value: number;
	/**
	 * copy_from_user.
	 *
	 * @param offset bytes from the pointer
	 * @returns a view of the caller's bytes, undefined where there are none: EFAULT
	 */
	read(length: number, offset?: number): Uint8Array | undefined;
	/** copy_to_user. @returns false where the caller has no writable memory: EFAULT */
	write(bytes: Uint8Array, offset?: number): boolean;
}

/**
 * An open file. Its methods answer as Linux's file operations do: 0 or more, or a negative errno.
 *
 * File descriptors, mappings and other files hold references; when the last one goes, the file is released. That is how
 * a BAR that is still mapped keeps its device open after close(2).
 */
export abstract class OpenFile {
	/** What it was opened as, or what /proc/self/fd shows for files without a name: `anon_inode:[vfio-device]`. */
	readonly path: string;
	/** `O_*` bits it was opened with. */
	flags = O_RDWR;
	/** Where read(2) and write(2) continue, bytes. */
	position = 0;
	/**
	 * Of files of VFIO, which KVM's VFIO device takes: whether DMA of all their devices can be forced to be coherent with
	 * the processor's caches. Undefined for all other files.
	 */
	coherent: boolean | undefined;
	#references = 0;
	#released = false;
	readonly #onRelease: (() => void)[] = [];

	constructor(path: string) {
		this.path = path;
	}

	/** Whether the last reference has gone. */
	get released(): boolean {
		return this.#released;
	}

	get readable(): boolean {
		return (this.flags & O_ACCMODE) !== O_WRONLY;
	}

	get writable(): boolean {
		return (this.flags & O_ACCMODE) !== O_RDONLY;
	}

	/** Takes a reference: every one needs its {@link unreference}. */
	reference(): this {
		this.#references++;
		return this;
	}

	/** Gives a reference back; the last one releases the file. @throws what a device model throws, after everything was released */
	unreference(): void {
		if (this.#references > 0) this.#references--;
		if (this.#references > 0 || this.#released) return;
		this.#released = true;
		const releases = new Releases();
		for (const callback of this.#onRelease.splice(0).reverse()) releases.defer(callback);
		releases.defer(() => this.release());
		releases[Symbol.dispose]();
	}

	/** Calls back after the file has been released. */
	whenReleased(callback: () => void): void {
		this.#onRelease.push(callback);
	}

	/** @returns 0 or more, or -errno */
	ioctl(_process: SimProcess, _request: number, _argument: IoctlArgument): number {
		return -ENOTTY;
	}

	/** read(2) at the file's position, which advances. */
	read(process: SimProcess, buffer: Uint8Array): number {
		const count = this.pread(process, buffer, this.position);
		if (count > 0) this.position += count;
		return count;
	}

	/** write(2) at the file's position, which advances. */
	write(process: SimProcess, buffer: Uint8Array): number {
		const count = this.pwrite(process, buffer, this.position);
		if (count > 0) this.position += count;
		return count;
	}

	pread(_process: SimProcess, _buffer: Uint8Array, _offset: number): number {
		return -EINVAL;
	}

	pwrite(_process: SimProcess, _buffer: Uint8Array, _offset: number): number {
		return -EINVAL;
	}

	/**
	 * mmap(2). The caller has checked the alignment of the offset and that the length is not 0.
	 *
	 * @returns a new mapping that the caller puts into the process's address space, or -errno
	 */
	mmap(
		_process: SimProcess,
		_length: number,
		_protection: number,
		_flags: number,
		_offset: number,
	): RegionMapping | number {
		return -ENODEV;
	}

	/** Lines that /proc/self/fdinfo shows besides the position and flags, each with its newline. */
	fdinfo(): string {
		return "";
	}

	/** The last reference has gone. */
	protected release(): void {}
}
