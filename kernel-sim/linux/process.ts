/**
 * A process of the simulated Linux, which is what a VFIO program sees of it: the kernel seam.
 *
 * @module
 */
import { KernelError } from "../../core/errors.ts";
import type { AllocateOptions, Clock, Kernel, Mapping, Memory } from "../../core/kernel.ts";
import { Releases } from "../../core/release.ts";
import { EACCES, EBADF, ECANCELED, EDEADLK, EINVAL, EISDIR, EMFILE, ENOENT } from "../../core/uapi/errno.ts";
import { MAP_PRIVATE, MAP_SHARED, O_ACCMODE, O_CLOEXEC, O_RDONLY, O_WRONLY } from "../../core/uapi/fcntl.ts";
import { requestName, vfioFileKind } from "../../core/uapi/requests.ts";
import { PAGE_SIZE, ProcessMemory } from "./address-space.ts";
import { ALL_CAPABILITIES, type Capability } from "./capability.ts";
import { EventFd, EventFdFile } from "./eventfd.ts";
import { FdTable } from "./fd-table.ts";
import { OpenFile } from "./file.ts";
import type { Inode } from "./filesystem.ts";
import { BytesArgument, NumberArgument } from "./ioctl-argument.ts";
import type { SimulatedLinux } from "./linux.ts";
import { NullFile } from "./null-file.ts";
import { PagemapFile } from "./physical-memory.ts";
import { isProcSelf, readProcSelf, readProcSelfDirectory, readProcSelfLink } from "./procfs.ts";
import type { RegionMapping } from "./region-mapping.ts";
import { Sleep } from "./sleep.ts";
import { SysfsFile } from "./sysfs-file.ts";
import { encodeText } from "./text.ts";

/** Options of {@link SimulatedLinux.process}. */
export interface ProcessOptions {
	/** The user; 0, root, when left out. */
	readonly uid?: number;
	/** All of them for root and none for others when left out. */
	readonly capabilities?: Iterable<Capability>;
	/** RLIMIT_MEMLOCK, bytes; 8 MiB when left out. */
	readonly memlock?: number;
	/** RLIMIT_NOFILE; what Node and systemd raise it to, 524288, when left out. */
	readonly openFilesLimit?: number;
	/** The command's name. */
	readonly name?: string;
}

/** Where processes put their memory; each has a terabyte of its own, so that addresses of two are never mistaken. */
const MEMORY_BASE = 0x7000_0000_0000n;
const MEMORY_SHIFT = 40n;
const MEMORY_SLOTS = 15;
const DEFAULT_MEMLOCK = 8 << 20;
const DEFAULT_OPEN_FILES = 524288;
const READ = 4;
const WRITE = 2;

/** A directory that was opened: it has names, but no bytes. */
class DirectoryFile extends OpenFile {
	override pread(): number {
		return -EISDIR;
	}
}

/**
 * A process. Its system calls are the methods of {@link Kernel}; inside this kernel they answer as Linux's do, 0 or more
 * or -errno, and a {@link KernelError} is made of it on the way out.
 */
export class SimProcess implements Kernel {
	readonly linux: SimulatedLinux;
	readonly pid: number;
	readonly uid: number;
	readonly capabilities: ReadonlySet<Capability>;
	/** RLIMIT_MEMLOCK, bytes. */
	readonly memlock: number;
	/** RLIMIT_NOFILE. */
	readonly openFilesLimit: number;
	readonly commandName: string;
	readonly memory: ProcessMemory;
	/** What descriptors 0 to 2 are, as for any program started by a service manager. */
	readonly standardStreams: OpenFile;
	readonly #fds: FdTable;
	#alive = true;

	/** @internal processes are made by {@link SimulatedLinux.process} and {@link fork} */
	constructor(linux: SimulatedLinux, pid: number, options: ProcessOptions = {}, parent?: SimProcess) {
		this.linux = linux;
		this.pid = pid;
		this.uid = options.uid ?? 0;
		this.capabilities = new Set(options.capabilities ?? (this.uid === 0 ? ALL_CAPABILITIES : []));
		this.memlock = options.memlock ?? DEFAULT_MEMLOCK;
		this.openFilesLimit = options.openFilesLimit ?? DEFAULT_OPEN_FILES;
		this.commandName = options.name ?? "program";
		const base = MEMORY_BASE + (BigInt(pid % MEMORY_SLOTS) << MEMORY_SHIFT);
		this.memory = parent ? parent.memory.fork() : new ProcessMemory(base);
		this.standardStreams = parent ? parent.standardStreams : new NullFile();
		this.#fds = parent ? parent.#fds.fork() : new FdTable(this.openFilesLimit);
		if (!parent) for (let fd = 0; fd < 3; fd++) this.#fds.install(this.standardStreams);
	}

	get name(): string {
		return `simulated Linux ${this.linux.version}`;
	}

	get clock(): Clock {
		return this.linux.clock;
	}

	/** Whether it has not exited. */
	get alive(): boolean {
		return this.#alive;
	}

	/** Open files by descriptor, ascending. */
	get openFiles(): ReadonlyMap<number, OpenFile> {
		return new Map(this.#fds.entries());
	}

	/** Pages charged against RLIMIT_MEMLOCK. */
	get lockedPages(): number {
		return this.memory.lockedPages;
	}

	capable(capability: Capability): boolean {
		return this.capabilities.has(capability);
	}

	/** The open file behind a descriptor. */
	file(fd: number): OpenFile | undefined {
		return this.#fds.file(fd);
	}

	/** Whether a descriptor is closed by execve(2). */
	isCloseOnExec(fd: number): boolean {
		return this.#fds.closeOnExec(fd);
	}

	/** Whether there is no descriptor left. */
	get descriptorsExhausted(): boolean {
		return this.#fds.full;
	}

	/** Gives a file that the kernel has opened a descriptor. @returns it, or -EMFILE */
	installFile(file: OpenFile, closeOnExec = true): number {
		return this.#fds.install(file, closeOnExec);
	}

	// ---- life and death ----

	/**
	 * fork(2). The child has the same open files and a copy of the memory.
	 *
	 * @param options what the child makes of itself at once, such as setuid(2) of a user without capabilities
	 */
	fork(options: Pick<ProcessOptions, "uid" | "capabilities" | "memlock"> = {}): SimProcess {
		return this.linux.forked(this, options);
	}

	/** exit(2), or death by a signal: mappings, then descriptors in ascending order, are given back. */
	exit(): void {
		if (!this.#alive) return;
		const releases = new Releases();
		releases.defer(() => this.linux.exited(this));
		releases.defer(() => this.#fds.clear());
		releases.defer(() => this.memory.clear());
		this.#alive = false;
		releases[Symbol.dispose]();
	}

	// ---- files ----

	open(path: string, flags: number): number {
		const file = this.#open(path, flags);
		if (typeof file === "number") throw new KernelError(-file, "open", path);
		return this.#fds.install(file, (flags & O_CLOEXEC) !== 0);
	}

	close(fd: number): void {
		this.#check(this.#fds.close(fd), "close", fd);
	}

	/** dup(2). @returns another descriptor of the same open file @throws KernelError */
	dup(fd: number): number {
		const file = this.#file(fd, "dup");
		return this.#check(this.#fds.install(file), "dup", fd);
	}

	ioctl(fd: number, request: number, argument: Uint8Array | number = 0): number {
		const file = this.#fds.file(fd);
		const result = file
			? file.ioctl(
					this,
					request,
					typeof argument === "number" ? new NumberArgument(argument, this.memory) : new BytesArgument(argument),
				)
			: -EBADF;
		if (result >= 0) return result;
		throw new KernelError(-result, requestName(request, vfioFileKind(file?.path ?? "")), this.#target(fd));
	}

	read(fd: number, buffer: Uint8Array): number {
		const file = this.#file(fd, "read");
		return this.#check(file.readable ? file.read(this, buffer) : -EBADF, "read", fd);
	}

	write(fd: number, buffer: Uint8Array): number {
		const file = this.#file(fd, "write");
		return this.#check(file.writable ? file.write(this, buffer) : -EBADF, "write", fd);
	}

	pread(fd: number, buffer: Uint8Array, offset: number): number {
		const file = this.#fds.file(fd);
		if (!file?.readable) return this.#check(-EBADF, "pread", fd);
		return this.#check(offset < 0 ? -EINVAL : file.pread(this, buffer, offset), "pread", fd);
	}

	pwrite(fd: number, buffer: Uint8Array, offset: number): number {
		const file = this.#fds.file(fd);
		if (!file?.writable) return this.#check(-EBADF, "pwrite", fd);
		return this.#check(offset < 0 ? -EINVAL : file.pwrite(this, buffer, offset), "pwrite", fd);
	}

	mmap(fd: number, length: number, protection: number, flags: number, offset: number): Mapping {
		const mapping = this.#mmap(this.#file(fd, "mmap"), length, protection, flags, offset);
		if (typeof mapping === "number") throw new KernelError(-mapping, "mmap", this.#target(fd));
		this.memory.map(mapping);
		return mapping;
	}

	// ---- eventfd ----

	eventfd(initial = 0): number {
		this.#mustLive("eventfd", "process");
		if (this.#fds.full) throw new KernelError(EMFILE, "eventfd", `process ${this.pid}`);
		const eventfd = new EventFd(this.linux.clock, this.linux.eventfds, initial >>> 0);
		return this.#fds.install(new EventFdFile(eventfd), true);
	}

	watch(fd: number, onSignal: (count: number) => void): Disposable {
		const file = this.#file(fd, "watch");
		if (file instanceof EventFdFile) return file.eventfd.watch(onSignal);
		throw new KernelError(EINVAL, "watch", this.#target(fd));
	}

	// ---- memory ----

	allocate(length: number, options: AllocateOptions = {}): Memory {
		this.#mustLive("mmap", "process");
		return this.memory.allocate(length, options.protection);
	}

	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		this.#mustLive("mmap", "process");
		return this.memory.adopt(buffer);
	}

	// ---- sysfs and procfs ----

	readFile(path: string): Uint8Array {
		if (isProcSelf(path)) return encodeText(this.#checkPath(readProcSelf(this, path), "open", path));
		const file = this.#checkPath(this.#open(path, O_RDONLY), "open", path);
		file.reference();
		try {
			return this.#checkPath(file instanceof SysfsFile ? file.readWhole() : this.#readSome(file), "read", path);
		} finally {
			file.unreference();
		}
	}

	writeFile(path: string, text: string): void {
		const result = this.startWriteFile(path, text);
		// The only thread there is would wait for itself. What was begun goes on.
		if (result instanceof Sleep) throw new KernelError(EDEADLK, "write", path);
		if (result < 0) throw new KernelError(-result, "write", path);
	}

	/**
	 * The write of {@link writeFile}, which may have to wait.
	 *
	 * @returns what write(2) returns, or a sleep
	 * @throws KernelError when the file cannot be opened
	 */
	startWriteFile(path: string, text: string): number | Sleep {
		const file = this.#checkPath(this.#open(path, O_WRONLY), "open", path);
		file.reference();
		try {
			const bytes = encodeText(text);
			return file instanceof SysfsFile ? file.store(bytes, 0) : file.write(this, bytes);
		} finally {
			file.unreference();
		}
	}

	readLink(path: string): string {
		const link = isProcSelf(path) ? readProcSelfLink(this, path) : this.linux.files.readLink(path);
		return this.#checkPath(link, "readlink", path);
	}

	readDirectory(path: string): string[] {
		const names = isProcSelf(path) ? readProcSelfDirectory(this, path) : this.linux.files.readDirectory(path);
		return this.#checkPath(names, "readdir", path);
	}

	// ---- how calls are answered ----

	/** @returns a new open file without references, or -errno */
	#open(path: string, flags: number): OpenFile | number {
		if (!this.#alive) return -ECANCELED;
		if (this.#fds.full) return -EMFILE;
		const inode = isProcSelf(path) ? this.#procSelfInode(path) : this.linux.files.lookup(path);
		if (typeof inode === "number") return inode;
		const access = flags & O_ACCMODE;
		const wanted = (access === O_WRONLY ? 0 : READ) | (access === O_RDONLY ? 0 : WRITE);
		if (inode.kind === "directory") return access === O_RDONLY ? new DirectoryFile(path) : -EISDIR;
		if (!this.#mayAccess(inode, wanted, path.startsWith("/sys/"))) return -EACCES;
		const file = inode.open
			? inode.open(this, flags)
			: inode.content
				? new SysfsFile(path, inode.content, this)
				: -ENOENT;
		if (typeof file !== "number") file.flags = flags & ~O_CLOEXEC;
		return file;
	}

	/** What one read(2) of a page gives. */
	#readSome(file: OpenFile): Uint8Array | number {
		const buffer = new Uint8Array(PAGE_SIZE);
		const count = file.read(this, buffer);
		return count < 0 ? count : buffer.subarray(0, count);
	}

	#procSelfInode(path: string): Inode | number {
		if (path === "/proc/self/pagemap") {
			const open = () => new PagemapFile();
			return { kind: "device", mode: 0o400, uid: this.uid, content: undefined, open };
		}
		const text = readProcSelf(this, path);
		if (typeof text === "number") return text;
		const content = { read: () => encodeText(text) };
		return { kind: "file", mode: 0o444, uid: this.uid, content, open: undefined };
	}

	#mayAccess(inode: Inode, wanted: number, sysfs: boolean): boolean {
		// sysfs insists that somebody may do it, where elsewhere CAP_DAC_OVERRIDE is enough.
		const anybody = (inode.mode >> 6) | (inode.mode >> 3) | inode.mode;
		if (sysfs && (anybody & wanted) !== wanted) return false;
		const bits = this.uid === inode.uid ? inode.mode >> 6 : inode.mode;
		return (bits & wanted) === wanted || this.capable("CAP_DAC_OVERRIDE");
	}

	#mmap(file: OpenFile, length: number, protection: number, flags: number, offset: number): RegionMapping | number {
		const shared = flags & (MAP_SHARED | MAP_PRIVATE);
		if (!(length > 0) || offset < 0 || offset % PAGE_SIZE !== 0) return -EINVAL;
		if (shared !== MAP_SHARED && shared !== MAP_PRIVATE) return -EINVAL;
		if (!file.readable || (shared === MAP_SHARED && (protection & 2) !== 0 && !file.writable)) return -EACCES;
		return file.mmap(this, length, protection, flags, offset);
	}

	#file(fd: number, call: string): OpenFile {
		const file = this.#fds.file(fd);
		if (!file) throw new KernelError(EBADF, call, `fd ${fd}`);
		return file;
	}

	#check(result: number, call: string, fd: number): number {
		if (result >= 0) return result;
		throw new KernelError(-result, call, this.#target(fd));
	}

	#checkPath<T>(result: T | number, call: string, path: string): T {
		if (typeof result === "number") throw new KernelError(-result, call, path);
		return result;
	}

	#mustLive(call: string, target: string): void {
		if (!this.#alive) throw new KernelError(ECANCELED, call, `${target} ${this.pid}`);
	}

	/** What a person calls the file behind a descriptor. */
	#target(fd: number): string {
		const path = this.#fds.file(fd)?.path;
		return path === undefined || path.startsWith("anon_inode:") ? `fd ${fd}` : path;
	}
}
