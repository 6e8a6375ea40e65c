/**
 * The kernel seam: the system calls that VFIO needs, and nothing else. `kernel-linux` answers them with a real Linux,
 * `kernel-sim` with a simulated one; everything above this file works on either.
 *
 * A call that fails throws a {@link KernelError} that carries the errno; a call that succeeds returns what Linux returns.
 * Structures cross the seam as the bytes of the Linux headers (`core/uapi`), so both kernels decode the same thing.
 *
 * @module
 */

/** How many bytes one register access moves. Wider accesses are {@link Mapping.read64} and {@link Mapping.write64}. */
export type AccessWidth = 1 | 2 | 4;

/** A kernel as one process sees it. */
export interface Kernel {
	/** What this kernel calls itself, such as `Linux 6.12.95` or `simulated Linux 6.12`. */
	readonly name: string;
	/** Monotonic time and timers. */
	readonly clock: Clock;

	/**
	 * open(2).
	 *
	 * @param path an absolute path, such as `/dev/vfio/vfio`
	 * @param flags `O_*` bits of `core/uapi/fcntl.ts`
	 * @returns the new file descriptor
	 * @throws KernelError
	 */
	open(path: string, flags: number): number;
	/** close(2). @throws KernelError */
	close(fd: number): void;
	/**
	 * ioctl(2).
	 *
	 * @param argument the structure the request points to, read and written in place; or an integer for requests that take
	 *   one (0 is the null pointer)
	 * @returns what the request returns, 0 or more
	 * @throws KernelError
	 */
	ioctl(fd: number, request: number, argument?: Uint8Array | number): number;
	/** read(2): at the file's own position, or a message of an eventfd. @returns the bytes read @throws KernelError */
	read(fd: number, buffer: Uint8Array): number;
	/** write(2). @returns the bytes written @throws KernelError */
	write(fd: number, buffer: Uint8Array): number;
	/** pread(2). @param offset in bytes, below 2^53 @returns the bytes read, fewer at the end of a region @throws KernelError */
	pread(fd: number, buffer: Uint8Array, offset: number): number;
	/** pwrite(2). @param offset in bytes, below 2^53 @returns the bytes written @throws KernelError */
	pwrite(fd: number, buffer: Uint8Array, offset: number): number;
	/**
	 * mmap(2) of a device's region.
	 *
	 * @param length bytes
	 * @param protection `PROT_*` bits
	 * @param flags `MAP_*` bits; VFIO accepts `MAP_SHARED` only
	 * @param offset bytes, page aligned
	 * @throws KernelError
	 */
	mmap(fd: number, length: number, protection: number, flags: number, offset: number): Mapping;

	/** eventfd(2), non-blocking and close-on-exec. @param initial the counter's first value @returns its file descriptor */
	eventfd(initial?: number): number;
	/**
	 * Calls back, from the event loop and never from inside another call of this interface, whenever the eventfd is
	 * signalled. The counter is consumed before the call.
	 *
	 * @param onSignal receives how often it was signalled since the last call
	 * @returns dispose it to stop watching; close the file descriptor only after that
	 * @throws KernelError
	 */
	watch(fd: number, onSignal: (count: number) => void): Disposable;

	/**
	 * Page-aligned, zeroed memory of this process whose address DMA can use.
	 *
	 * @param length bytes, rounded up to whole pages
	 * @throws KernelError ENOMEM
	 */
	allocate(length: number, options?: AllocateOptions): Memory;
	/**
	 * The same for a buffer that exists already, such as the memory of a WebAssembly instance.
	 *
	 * @param buffer the bytes; or a function that returns them, for a buffer that is detached and remade when it grows
	 */
	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory;

	/** The whole content of a file in sysfs or procfs. @throws KernelError */
	readFile(path: string): Uint8Array;
	/** One write(2) of the text to a file in sysfs, as `echo text > path` does. @throws KernelError */
	writeFile(path: string, text: string): void;
	/** readlink(2). @throws KernelError */
	readLink(path: string): string;
	/** The names in a directory, sorted, without `.` and `..`. @throws KernelError */
	readDirectory(path: string): string[];
}

/** Options of {@link Kernel.allocate}. */
export interface AllocateOptions {
	/** `PROT_*` bits of the pages; readable and writable when left out. */
	readonly protection?: number;
}

/** Time, as the core sees it. */
export interface Clock {
	/** Monotonic nanoseconds from an arbitrary start. */
	now(): number;
	/**
	 * Calls back once, from the event loop.
	 *
	 * @param delay nanoseconds from now
	 * @returns dispose it to cancel
	 */
	timer(delay: number, onExpiry: () => void): Disposable;
}

/** A stretch of this process's memory. Disposing it frees it; an adopted buffer is only forgotten. */
export interface Memory extends Disposable {
	/** Its virtual address: what `VFIO_IOMMU_MAP_DMA` takes as `vaddr`. */
	readonly address: bigint;
	/** Bytes. */
	readonly length: number;
	/** The bytes. Take them anew after anything that may have grown an adopted buffer. */
	readonly bytes: Uint8Array;
}

/**
 * A device's region in this process's memory. Each call is exactly one access of that width to the device, in order:
 * none is merged with another, split or dropped. Disposing it unmaps.
 */
export interface Mapping extends Disposable {
	/** Its virtual address, for a VMM that maps it into its guest, and for peer-to-peer DMA. */
	readonly address: bigint;
	/** Bytes. */
	readonly length: number;
	/** @param offset bytes, a multiple of `width` @returns the value, unsigned @throws KernelError EIO when the device is gone or its memory decoding is off */
	read(offset: number, width: AccessWidth): number;
	/** @param offset bytes, a multiple of 8 */
	read64(offset: number): bigint;
	/** @param offset bytes, a multiple of `width` */
	write(offset: number, width: AccessWidth, value: number): void;
	/** @param offset bytes, a multiple of 8 */
	write64(offset: number, value: bigint): void;
}
