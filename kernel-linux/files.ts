/**
 * Small files of sysfs and procfs by path.
 *
 * Through libc and not `node:fs`, so that every error carries the kernel's errno in every runtime.
 *
 * @module
 */
import { KernelError } from "../core/errors.ts";
import { EIO } from "../core/uapi/errno.ts";
import { O_CLOEXEC, O_RDONLY, O_WRONLY } from "../core/uapi/fcntl.ts";
import { type Libc, O_DIRECTORY, O_TRUNC } from "./libc.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** A page is all that sysfs gives at once; directories and link targets need no more either. */
const scratch = new Uint8Array(4096);

/** The whole content: read until nothing comes, since these files do not know their size. */
export function readFile(libc: Libc, path: string): Uint8Array {
	return opened(libc, path, O_RDONLY, (fd) => {
		let content = new Uint8Array(0);
		for (;;) {
			const count = libc.read(fd, scratch, scratch.length);
			if (count < 0) throw new KernelError(libc.errno(), "read", path);
			if (count === 0) return content;
			const longer = new Uint8Array(content.length + count);
			longer.set(content);
			longer.set(scratch.subarray(0, count), content.length);
			content = longer;
		}
	});
}

/** One write(2), because to sysfs each one is a command of its own. */
export function writeFile(libc: Libc, path: string, text: string): void {
	const bytes = encoder.encode(text);
	opened(libc, path, O_WRONLY | O_TRUNC, (fd) => {
		const count = libc.write(fd, bytes, bytes.length);
		if (count < 0) throw new KernelError(libc.errno(), "write", path);
		// Half a command was taken as a whole one: nothing that can be mended by sending the rest.
		if (count < bytes.length) throw new KernelError(EIO, "write", path);
	});
}

/** Where a symbolic link points to, as written in it. */
export function readLink(libc: Libc, path: string): string {
	const count = libc.readlink(path, scratch, scratch.length);
	if (count < 0) throw new KernelError(libc.errno(), "readlink", path);
	return decoder.decode(scratch.subarray(0, count));
}

// struct linux_dirent64: u64 inode, s64 offset, u16 record length, u8 type, then the name up to its NUL.
const RECORD_LENGTH = 16;
const NAME = 19;

/** The names in a directory, sorted. */
export function readDirectory(libc: Libc, path: string): string[] {
	return opened(libc, path, O_RDONLY | O_DIRECTORY, (fd) => {
		const names: string[] = [];
		for (;;) {
			const count = libc.getdents64(fd, scratch, scratch.length);
			if (count < 0) throw new KernelError(libc.errno(), "getdents64", path);
			if (count === 0) return names.sort();
			let next = 0;
			for (let at = 0; at < count; at = next) {
				next = at + (scratch[at + RECORD_LENGTH] ?? 0) + (scratch[at + RECORD_LENGTH + 1] ?? 0) * 256;
				const name = decoder.decode(scratch.subarray(at + NAME, scratch.indexOf(0, at + NAME)));
				if (name !== "." && name !== "..") names.push(name);
			}
		}
	});
}

function opened<T>(libc: Libc, path: string, flags: number, use: (fd: number) => T): T {
	const fd = libc.open(path, flags | O_CLOEXEC, 0);
	if (fd < 0) throw new KernelError(libc.errno(), "open", path);
	try {
		return use(fd);
	} finally {
		libc.close(fd);
	}
}
