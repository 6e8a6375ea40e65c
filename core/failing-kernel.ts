/**
 * Fault injection: a kernel around another one, one of whose calls fails.
 *
 * @module
 */
import { KernelError } from "./errors.ts";
import type { AllocateOptions, Clock, Kernel, Mapping, Memory } from "./kernel.ts";

/**
 * A kernel whose n-th call fails with an errno, without reaching the kernel behind it. Calls that give something back
 * (`close`, unmapping, `UNSET_CONTAINER` and the like are ordinary calls; disposing a {@link Memory}, a {@link Mapping} or
 * a watch is not a call here) are counted like all others, so a program's clean-up is put to the test too.
 *
 * @example
 * ```ts
 * for (let n = 1; ; n++) {
 *   const kernel = new FailingKernel(linux.process(), n, EIO);
 *   try { attachRunDetach(kernel); } catch { }
 *   if (!kernel.failed) break; // n is beyond the last call
 * }
 * ```
 */
export class FailingKernel implements Kernel {
	readonly #kernel: Kernel;
	readonly #failAt: number;
	readonly #errno: number;
	#calls = 0;
	#failure: string | undefined;

	/**
	 * @param failAt which call fails, counted from 1
	 * @param errno what it fails with
	 */
	constructor(kernel: Kernel, failAt: number, errno: number) {
		this.#kernel = kernel;
		this.#failAt = failAt;
		this.#errno = errno;
	}

	/** How many calls were made. */
	get calls(): number {
		return this.#calls;
	}
	/** The call that was made to fail, or undefined while none was. */
	get failed(): string | undefined {
		return this.#failure;
	}

	#count(call: string, target: string): void {
		this.#calls++;
		if (this.#calls !== this.#failAt) return;
		this.#failure = `${call} ${target}`;
		throw new KernelError(this.#errno, call, target);
	}

	get name(): string {
		return this.#kernel.name;
	}
	get clock(): Clock {
		return this.#kernel.clock;
	}
	open(path: string, flags: number): number {
		this.#count("open", path);
		return this.#kernel.open(path, flags);
	}
	close(fd: number): void {
		// close(2) releases the descriptor even when it reports an error, so the real one is closed first.
		this.#kernel.close(fd);
		this.#count("close", `fd ${fd}`);
	}
	ioctl(fd: number, request: number, argument?: Uint8Array | number): number {
		this.#count(`ioctl 0x${request.toString(16)}`, `fd ${fd}`);
		return this.#kernel.ioctl(fd, request, argument);
	}
	read(fd: number, buffer: Uint8Array): number {
		this.#count("read", `fd ${fd}`);
		return this.#kernel.read(fd, buffer);
	}
	write(fd: number, buffer: Uint8Array): number {
		this.#count("write", `fd ${fd}`);
		return this.#kernel.write(fd, buffer);
	}
	pread(fd: number, buffer: Uint8Array, offset: number): number {
		this.#count("pread", `fd ${fd}`);
		return this.#kernel.pread(fd, buffer, offset);
	}
	pwrite(fd: number, buffer: Uint8Array, offset: number): number {
		this.#count("pwrite", `fd ${fd}`);
		return this.#kernel.pwrite(fd, buffer, offset);
	}
	mmap(fd: number, length: number, protection: number, flags: number, offset: number): Mapping {
		this.#count("mmap", `fd ${fd}`);
		return this.#kernel.mmap(fd, length, protection, flags, offset);
	}
	eventfd(initial?: number): number {
		this.#count("eventfd", "");
		return this.#kernel.eventfd(initial);
	}
	watch(fd: number, onSignal: (count: number) => void): Disposable {
		this.#count("watch", `fd ${fd}`);
		return this.#kernel.watch(fd, onSignal);
	}
	allocate(length: number, options?: AllocateOptions): Memory {
		this.#count("allocate", `${length} bytes`);
		return this.#kernel.allocate(length, options);
	}
	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		this.#count("adopt", "a buffer");
		return this.#kernel.adopt(buffer);
	}
	readFile(path: string): Uint8Array {
		this.#count("readFile", path);
		return this.#kernel.readFile(path);
	}
	writeFile(path: string, text: string): void {
		this.#count("writeFile", path);
		this.#kernel.writeFile(path, text);
	}
	readLink(path: string): string {
		this.#count("readLink", path);
		return this.#kernel.readLink(path);
	}
	readDirectory(path: string): string[] {
		this.#count("readDirectory", path);
		return this.#kernel.readDirectory(path);
	}
}
