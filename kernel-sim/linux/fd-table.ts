/**
 * File descriptors of a process.
 *
 * @module
 */
import { Releases } from "../../core/release.ts";
import { EBADF, EMFILE } from "../../core/uapi/errno.ts";
import type { OpenFile } from "./file.ts";

interface Slot {
	readonly file: OpenFile;
	readonly closeOnExec: boolean;
}

/** Numbers for open files. Each number holds a reference. */
export class FdTable {
	readonly #slots: (Slot | undefined)[] = [];
	readonly #limit: number;
	/** No number below this is free. */
	#lowest = 0;

	/** @param limit RLIMIT_NOFILE: all numbers are below it */
	constructor(limit: number) {
		this.#limit = limit;
	}

	/** Whether there is a number left. */
	get full(): boolean {
		return this.#free() >= this.#limit;
	}

	/** Gives a file the lowest free number. @returns -EMFILE when there is none */
	install(file: OpenFile, closeOnExec = false): number {
		const fd = this.#free();
		if (fd >= this.#limit) return -EMFILE;
		this.#slots[fd] = { file: file.reference(), closeOnExec };
		this.#lowest = fd + 1;
		return fd;
	}

	file(fd: number): OpenFile | undefined {
		return this.#slots[fd]?.file;
	}

	closeOnExec(fd: number): boolean {
		return this.#slots[fd]?.closeOnExec ?? false;
	}

	/** @returns 0 or -EBADF */
	close(fd: number): number {
		const slot = this.#slots[fd];
		if (!slot) return -EBADF;
		this.#slots[fd] = undefined;
		this.#lowest = Math.min(this.#lowest, fd);
		slot.file.unreference();
		return 0;
	}

	/** The open numbers, ascending. */
	*entries(): Generator<[fd: number, file: OpenFile]> {
		for (const [fd, slot] of this.#slots.entries()) if (slot) yield [fd, slot.file];
	}

	/** The table of a forked process. */
	fork(): FdTable {
		const child = new FdTable(this.#limit);
		for (const [fd, slot] of this.#slots.entries())
			child.#slots[fd] = slot && { file: slot.file.reference(), closeOnExec: slot.closeOnExec };
		return child;
	}

	/** Closes everything, in ascending order. @throws what a device model throws, after everything was closed */
	clear(): void {
		const releases = new Releases();
		for (let fd = this.#slots.length - 1; fd >= 0; fd--) releases.defer(() => this.close(fd));
		releases[Symbol.dispose]();
	}

	#free(): number {
		let fd = this.#lowest;
		while (this.#slots[fd]) fd++;
		this.#lowest = fd;
		return fd;
	}
}
