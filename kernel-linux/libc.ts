/**
 * The C library through koffi: the declarations, and nothing that decides anything.
 *
 * Buffers go by reference (a `Uint8Array` for a `void *`, with no copy and no marshalled object: 3.5 times faster), and
 * ioctl(2) is declared with a fixed third argument, which the calling conventions of x86-64 and arm64 allow.
 *
 * @module
 */
import { createRequire } from "node:module";
import process from "node:process";
import type { LibraryHandle } from "koffi";
import { VfioError } from "../core/errors.ts";

/** An address or a 64-bit integer: a number where it is exact. */
type Word = number | bigint;

/** The calls of libc that the seam needs. Each answers as in C; {@link Libc.errno} says why one answered -1. */
export interface Libc {
	/** The thread's errno: read it before anything else runs. */
	errno(): number;
	open(path: string, flags: number, mode: number): number;
	close(fd: number): number;
	ioctl(fd: number, request: number, argument: Uint8Array): number;
	/** ioctl(2) of a request whose argument is an integer. */
	ioctlInteger(fd: number, request: number, argument: number): number;
	read(fd: number, buffer: Uint8Array, length: number): number;
	write(fd: number, buffer: Uint8Array, length: number): number;
	pread(fd: number, buffer: Uint8Array, length: number, offset: number): number;
	pwrite(fd: number, buffer: Uint8Array, length: number, offset: number): number;
	/** @returns the address, {@link MAP_FAILED} when it fails */
	mmap(address: Word, length: number, protection: number, flags: number, fd: number, offset: number): bigint;
	munmap(address: Word, length: number): number;
	eventfd(initial: number, flags: number): number;
	epoll_create1(flags: number): number;
	epoll_ctl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
	epoll_wait(epoll: number, events: Uint8Array, count: number, timeout: number): number;
	readlink(path: string, buffer: Uint8Array, length: number): number;
	getdents64(fd: number, buffer: Uint8Array, length: number): number;
	getpagesize(): number;
	uname(buffer: Uint8Array): number;
	/** The bytes at an address. The buffer owns nothing: it must not be touched once they are unmapped. */
	view(address: bigint, length: number): ArrayBuffer;
	/** The address of a buffer's first byte. */
	addressOf(buffer: Uint8Array): bigint;
	/** Calls back from the event loop while `fd` is readable; with Deno once for each start. */
	poll(fd: number, onReadable: () => void): PollHandle;
}

/** A watch of koffi's over the event loop of libuv. It keeps the process alive until it is closed. */
export interface PollHandle {
	start(onReadable: () => void): void;
	/** Nothing may be called on it afterwards. */
	close(): void;
}

/** What mmap(2) answers when it fails, as koffi delivers the pointer. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

export const O_TRUNC = 0x200;
export const O_DIRECTORY = process.arch === "arm64" ? 0x4000 : 0x10000;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const EPOLLIN = 1;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
const RTLD_NOW = 2;
const RTLD_NODELETE = 0x1000;

let loaded: Libc | undefined;

/**
 * The C library, loaded once.
 *
 * @throws VfioError `no-vfio` when this is not Linux, or koffi does not load here
 */
export function libc(): Libc {
	loaded ??= load();
	return loaded;
}

function load(): Libc {
	const { arch, platform } = process;
	if (platform !== "linux")
		throw new VfioError("no-vfio", `Cannot use the kernel: this is ${platform}, and VFIO is part of Linux`, {
			remedy: ["Use the simulated kernel, which runs anywhere"],
		});
	try {
		return declare();
	} catch (cause) {
		throw new VfioError("no-vfio", `Cannot use the kernel: koffi does not load on ${platform}-${arch}`, {
			cause,
			remedy: [
				"npm install koffi --include=optional",
				"With Deno: deno run --allow-ffi --allow-read --allow-env",
				"Use the simulated kernel, which needs no native code",
			],
		});
	}
}

function declare(): Libc {
	// Required here and not imported above, so that a machine without koffi gets the error of load().
	const require = createRequire(import.meta.url);
	const koffi: typeof import("koffi") = require("koffi");
	const library = koffi.load("libc.so.6");
	keepLoaded(library, require);
	const calls: Omit<Libc, "errno" | "view" | "addressOf" | "poll"> = {
		open: library.func("int open(const char *path, int flags, unsigned int mode)"),
		close: library.func("int close(int fd)"),
		ioctl: library.func("int ioctl(int fd, unsigned long request, void *argument)"),
		ioctlInteger: library.func("int ioctl(int fd, unsigned long request, uintptr_t argument)"),
		read: library.func("intptr read(int fd, void *buffer, size_t length)"),
		write: library.func("intptr write(int fd, const void *buffer, size_t length)"),
		pread: library.func("intptr pread(int fd, void *buffer, size_t length, int64_t offset)"),
		pwrite: library.func("intptr pwrite(int fd, const void *buffer, size_t length, int64_t offset)"),
		mmap: library.func(
			"void *mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)",
		),
		munmap: library.func("int munmap(uintptr_t address, size_t length)"),
		eventfd: library.func("int eventfd(unsigned int initial, int flags)"),
		epoll_create1: library.func("int epoll_create1(int flags)"),
		epoll_ctl: library.func("int epoll_ctl(int epoll, int operation, int fd, void *event)"),
		epoll_wait: library.func("int epoll_wait(int epoll, void *events, int count, int timeout)"),
		readlink: library.func("intptr readlink(const char *path, void *buffer, size_t length)"),
		getdents64: library.func("intptr getdents64(int fd, void *buffer, size_t length)"),
		getpagesize: library.func("int getpagesize()"),
		uname: library.func("int uname(void *buffer)"),
	};
	return {
		...calls,
		errno: () => koffi.errno(),
		view: (address, length) => koffi.view(address, length),
		addressOf: (buffer) => koffi.address(buffer),
		poll: (fd, onReadable) => koffi.node.poll(fd, onReadable),
	};
}

/**
 * Keeps koffi's native code in the process for good. A worker thread that ends while something is watched would unload it
 * and then, closing the watch, call into it: the whole process dies of SIGSEGV (Node 20, when only workers use koffi).
 */
function keepLoaded(library: LibraryHandle, require: NodeJS.Require): void {
	const addon = Object.keys(require.cache ?? {}).find((path) => path.endsWith("koffi.node"));
	if (addon) library.func("void *dlopen(const char *path, int flags)")(addon, RTLD_NOW | RTLD_NODELETE);
}
