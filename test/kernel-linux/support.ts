// What the tests of kernel-linux need of Linux beyond the seam.
import { readFileSync } from "node:fs";
import koffi from "koffi";
import { KernelError } from "../../core/errors.ts";

const libc = koffi.load("libc.so.6");
const memfdCreate = libc.func("int memfd_create(const char *name, unsigned int flags)");
const pipe = libc.func("int pipe2(void *fds, int flags)");
const truncate = libc.func("int ftruncate(int fd, int64_t length)");
const O_CLOEXEC = 0x80000;

/** A file that exists in memory only, as long as something has it open or mapped. */
export function memfd(length: number): number {
	const fd: number = memfdCreate("vfio-ts-test", 1);
	if (fd < 0 || truncate(fd, length) < 0) throw new Error("Cannot create a memfd");
	return fd;
}

/** Both ends of a pipe. */
export function pipeFds(): { read: number; write: number } {
	const fds = new Int32Array(2);
	if (pipe(new Uint8Array(fds.buffer), O_CLOEXEC) < 0) throw new Error("Cannot create a pipe");
	return { read: fds[0] as number, write: fds[1] as number };
}

/** The line of /proc/self/maps that an address lies in. */
export function mapsLine(address: bigint): string | undefined {
	return readFileSync("/proc/self/maps", "utf8")
		.split("\n")
		.find((line) => {
			const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
			return range !== null && address >= BigInt(`0x${range[1]}`) && address < BigInt(`0x${range[2]}`);
		});
}

/** What a call throws, for its fields to be looked at. */
export function errorOf(call: () => unknown): { errno: number; call: string; target: string } {
	try {
		call();
	} catch (error) {
		if (!(error instanceof KernelError)) throw error;
		return { errno: error.errno, call: error.call, target: error.target };
	}
	throw new Error("The call threw nothing");
}

/** The eight bytes that signal an eventfd once, or `count` times. */
export function signals(count = 1): Uint8Array {
	return new Uint8Array(BigUint64Array.of(BigInt(count)).buffer);
}
