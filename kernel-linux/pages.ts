/**
 * Pages of this process that JavaScript has views of, and how they are given back without a crash.
 *
 * A view of memory that is no longer mapped kills the process at its next use, and a view cannot be taken back. So pages
 * are given back in two steps: {@link retire} puts private zero pages over them at once, which frees what was there and
 * leaves old views something to read; the address range follows when the last view has been collected.
 *
 * @module
 */
import { versions } from "node:process";
import { KernelError } from "../core/errors.ts";
import { MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../core/uapi/fcntl.ts";
import { type Libc, MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_NORESERVE } from "./libc.ts";

/** The longest buffer there is, in bytes: beyond it Node 20 aborts the process instead of throwing. */
export const LONGEST_VIEW: number = Number.parseInt(versions.node, 10) < 22 ? 2 ** 32 : Number.MAX_SAFE_INTEGER;

const unviewed = new FinalizationRegistry<{ libc: Libc; address: bigint; length: number }>((range) => {
	range.libc.munmap(range.address, range.length);
});

/**
 * mmap(2) at an address of the kernel's choice.
 *
 * @param target what is mapped, for the error
 * @throws KernelError
 */
export function map(
	libc: Libc,
	length: number,
	protection: number,
	flags: number,
	fd: number,
	offset: number,
	target: string,
): bigint {
	const address = libc.mmap(0, length, protection, flags, fd, offset);
	if (address === MAP_FAILED) throw new KernelError(libc.errno(), "mmap", target);
	return address;
}

/**
 * Gives back pages that were viewed: what is mapped there goes now, the addresses once no view is left.
 *
 * @param buffers the views, which cover the range one after another
 * @throws KernelError
 */
export function retire(libc: Libc, address: bigint, buffers: readonly ArrayBuffer[], target: string): void {
	let start = address;
	for (const buffer of buffers) {
		const length = buffer.byteLength;
		// MAP_NORESERVE: nobody will fill the pages behind a 64 GiB BAR, so they must not count as committed memory.
		const flags = MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE;
		if (libc.mmap(start, length, PROT_READ | PROT_WRITE, flags, -1, 0) === MAP_FAILED)
			throw new KernelError(libc.errno(), "mmap", target);
		unviewed.register(buffer, { libc, address: start, length });
		start += BigInt(length);
	}
}
