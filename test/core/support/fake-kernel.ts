// A kernel whose every answer is scripted: files by path, device nodes as objects. It knows nothing of VFIO.
import { KernelError } from "../../../core/errors.ts";
import type { Clock, Kernel, Mapping, Memory } from "../../../core/kernel.ts";
import { EBADF, EINVAL, ENOENT, ENOTTY } from "../../../core/uapi/errno.ts";

/** What an open device node answers. What is left out is refused. */
export interface FakeFile {
	ioctl?(request: number, argument: Uint8Array | number): number;
	pread?(buffer: Uint8Array, offset: number): number;
	pwrite?(buffer: Uint8Array, offset: number): number;
	mmap?(length: number, protection: number, flags: number, offset: number): Mapping;
	close?(): void;
}

/** A file whose writes do something. */
export interface FakeAttribute {
	read?(): string;
	write?(text: string): void;
}

const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

export class FakeKernel implements Kernel {
	readonly name = "fake";
	readonly files = new Map<string, string | Uint8Array | FakeAttribute>();
	readonly links = new Map<string, string>();
	readonly nodes = new Map<string, () => FakeFile>();
	readonly directories = new Set<string>();
	/** Every open file, by descriptor. */
	readonly openFiles = new Map<number, { path: string; file: FakeFile }>();
	/** open, close, writeFile and what tests add. */
	readonly log: string[] = [];
	#nextFd = 3;
	#nextAddress = 0x7f00_0000_0000n;

	fail(errno: number, call: string, target: string): never {
		throw new KernelError(errno, call, target);
	}

	/** Gives an open file to a descriptor, as an ioctl that returns one does. */
	install(path: string, file: FakeFile): number {
		const fd = this.#nextFd++;
		this.openFiles.set(fd, { path, file });
		return fd;
	}

	fileOf(fd: number): FakeFile {
		const open = this.openFiles.get(fd);
		if (!open) return this.fail(EBADF, "fd", `${fd}`);
		return open.file;
	}

	open(path: string): number {
		const node = this.nodes.get(path);
		if (!node) this.fail(ENOENT, "open", path);
		const fd = this.install(path, node());
		this.log.push(`open ${path}`);
		return fd;
	}
	close(fd: number): void {
		const file = this.fileOf(fd);
		this.log.push(`close ${this.openFiles.get(fd)?.path}`);
		this.openFiles.delete(fd);
		file.close?.();
	}
	ioctl(fd: number, request: number, argument: Uint8Array | number = 0): number {
		const file = this.fileOf(fd);
		if (!file.ioctl) return this.fail(ENOTTY, "ioctl", `fd ${fd}`);
		return file.ioctl(request, argument);
	}
	pread(fd: number, buffer: Uint8Array, offset: number): number {
		return this.fileOf(fd).pread?.(buffer, offset) ?? this.fail(EINVAL, "pread", `fd ${fd}`);
	}
	pwrite(fd: number, buffer: Uint8Array, offset: number): number {
		return this.fileOf(fd).pwrite?.(buffer, offset) ?? this.fail(EINVAL, "pwrite", `fd ${fd}`);
	}
	mmap(fd: number, length: number, protection: number, flags: number, offset: number): Mapping {
		return this.fileOf(fd).mmap?.(length, protection, flags, offset) ?? this.fail(EINVAL, "mmap", `fd ${fd}`);
	}
	read(fd: number): number {
		return this.fail(EINVAL, "read", `fd ${fd}`);
	}
	write(fd: number): number {
		return this.fail(EINVAL, "write", `fd ${fd}`);
	}
	eventfd(): number {
		return this.install("eventfd", {});
	}
	watch(): Disposable {
		return { [Symbol.dispose]() {} };
	}
	allocate(length: number): Memory {
		const address = this.#nextAddress;
		this.#nextAddress += BigInt(Math.ceil(length / 4096) + 1) * 4096n;
		return { address, length, bytes: new Uint8Array(length), [Symbol.dispose]: () => this.log.push("free") };
	}
	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		const bytes = typeof buffer === "function" ? buffer() : buffer;
		return { address: 0x6000_0000_0000n, length: bytes.length, bytes, [Symbol.dispose]() {} };
	}
	readonly clock: Clock = {
		now: () => 0,
		timer: () => ({ [Symbol.dispose]() {} }),
	};

	readFile(path: string): Uint8Array {
		const file = this.files.get(path);
		if (file === undefined) this.fail(ENOENT, "readFile", path);
		if (file instanceof Uint8Array) return file;
		return latin1(typeof file === "string" ? file : (file.read?.() ?? ""));
	}
	writeFile(path: string, text: string): void {
		const file = this.files.get(path);
		if (file === undefined) this.fail(ENOENT, "writeFile", path);
		this.log.push(`write ${path} ${text}`);
		if (typeof file === "object" && "write" in file) file.write?.(text);
		else this.files.set(path, `${text}\n`);
	}
	readLink(path: string): string {
		return this.links.get(path) ?? this.fail(ENOENT, "readLink", path);
	}
	readDirectory(path: string): string[] {
		const names = new Set<string>();
		let found = this.directories.has(path);
		for (const known of [...this.files.keys(), ...this.links.keys(), ...this.nodes.keys(), ...this.directories]) {
			if (!known.startsWith(`${path}/`)) continue;
			found = true;
			names.add(known.slice(path.length + 1).split("/")[0] as string);
		}
		return found ? [...names].sort() : this.fail(ENOENT, "readDirectory", path);
	}
}
