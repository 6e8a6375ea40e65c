import type { Kernel } from "../../core/kernel.ts";

/** A version of Linux whose answers the suite knows. */
export type Version = "6.12" | "7.2";

/** What the simulation can be: one of Debian's kernels; or the lab's own, a 6.12 with iommufd, also on a host without an IOMMU. */
export type Build = Version | "own" | "no-iommu";

/** The kernel under test, and what a suite needs around it that is no system call of VFIO's. */
export interface Target {
	/** As the root process sees it that runs the cases. */
	readonly kernel: Kernel;
	readonly version: Version;
	/** Starts another process. */
	spawn(options?: SpawnOptions): Promise<OtherProcess>;
	/** Lets time pass: really, or on the simulation's clock. */
	sleep(milliseconds: number): Promise<void>;
	/** chown(2). */
	chown(path: string, uid: number): void;
	/** Ends what is left of the other processes. */
	dispose(): Promise<void>;
}

/** How another process starts. */
export interface SpawnOptions {
	/** The user it becomes, without any capability; root when left out. */
	readonly uid?: number;
	/** RLIMIT_MEMLOCK, bytes. */
	readonly memlock?: number;
	/** Descriptors of the root process that it inherits, as by fork(2). */
	readonly inherit?: readonly number[];
}

/** What a call answered: 0 or more, or the error's name. */
export type Answer = number | string;

/** Another process: the seam's calls, answered later because it may sleep in one of them. Errors are names such as `EBUSY`. */
export interface OtherProcess {
	/** What the inherited descriptors are called there, in the order they were given. */
	readonly inherited: readonly number[];
	open(path: string, flags: number): Promise<Answer>;
	close(fd: number): Promise<Answer>;
	/** @param argument written in place */
	ioctl(fd: number, request: number, argument: Uint8Array | number): Promise<Answer>;
	pread(fd: number, length: number, offset: number): Promise<Uint8Array | string>;
	eventfd(): Promise<number>;
	/** Reads an eventfd. @returns the count, 0 when nothing was signalled */
	count(fd: number): Promise<number>;
	/** Zeroed memory. @returns its address there */
	allocate(length: number): Promise<bigint>;
	/** mmap(2), shared. @returns a handle for {@link touch}, or the error's name */
	map(fd: number, length: number, offset: number): Promise<Answer>;
	/** Reads 32 bits of a mapping. @returns the value, or `SIGBUS` when that killed the process */
	touch(mapping: number, offset: number): Promise<Answer>;
	/** The error's name, or 0; a blocked write stays pending. */
	writeFile(path: string, text: string): Promise<Answer>;
	readFile(path: string): Promise<string>;
	/** SIGKILL: nothing of its own is run before its end. */
	kill(): Promise<void>;
}
