import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { FileNamespace, MemoryNamespace, type Namespace, patternContent } from "../kernel-sim/mod.ts";

const DEFAULT_SIZE = 64 * 1024 * 1024;

/**
 * The simulated disk: a file of the user's, or 64 MiB in memory where each 8 bytes hold their own offset.
 *
 * @throws what node:fs throws
 */
export function openDisk(path: string | undefined): Namespace {
	if (path === undefined) return new MemoryNamespace(DEFAULT_SIZE, { content: patternContent });
	const fd = openSync(path, "r+");
	return new FileNamespace({
		size: fstatSync(fd).size,
		read: (offset, into) => readSync(fd, into, 0, into.length, offset),
		write: (offset, from) => writeSync(fd, from, 0, from.length, offset),
		flush: () => fsyncSync(fd),
		close: () => closeSync(fd),
	});
}

const FNV_OFFSET_BASIS = 2166136261;
const FNV_PRIME = 16777619;

/** FNV-1a over 32 bits (draft-eastlake-fnv): what the guest program computes of the blocks it reads. */
export function checksum(bytes: Uint8Array): number {
	let sum = FNV_OFFSET_BASIS;
	for (const byte of bytes) sum = Math.imul(sum ^ byte, FNV_PRIME) >>> 0;
	return sum;
}

/** The checksum of a disk's first blocks, eight hexadecimal digits. */
export function diskChecksum(disk: Namespace, blocks: number): string {
	const bytes = new Uint8Array(Math.min(blocks * disk.blockSize, disk.size));
	if (!disk.read(0, bytes)) throw new Error("Cannot read the simulated disk's file");
	return checksum(bytes).toString(16).padStart(8, "0");
}
