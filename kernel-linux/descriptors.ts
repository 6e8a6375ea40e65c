/**
 * What each file descriptor stands for, so that an error can say it.
 *
 * @module
 */
import { KernelError } from "../core/errors.ts";

/** The files this kernel object opened, by descriptor. */
export class Descriptors {
	readonly #targets = new Map<number, string>();

	/** @param target its path; the device's name when a group gave it; or what kind of file it is */
	opened(fd: number, target: string): void {
		this.#targets.set(fd, target);
	}

	closed(fd: number): void {
		this.#targets.delete(fd);
	}

	/** What the descriptor stands for; `fd 7` when something else opened it. */
	target(fd: number): string {
		return this.#targets.get(fd) ?? `fd ${fd}`;
	}

	/** The error of a call on a descriptor. */
	error(errno: number, call: string, fd: number): KernelError {
		return new KernelError(errno, call, this.target(fd));
	}
}
