/**
 * The kernel seam over a real Linux.
 *
 * @module
 */
import { KernelError } from "../core/errors.ts";
import type { AllocateOptions, Clock, Kernel, Mapping, Memory } from "../core/kernel.ts";
import { O_CLOEXEC } from "../core/uapi/fcntl.ts";
import { requestName, vfioFileKind } from "../core/uapi/requests.ts";
import { VFIO_GROUP_GET_DEVICE_FD } from "../core/uapi/vfio.ts";
import { LinuxClock } from "./clock.ts";
import { Descriptors } from "./descriptors.ts";
import { Events } from "./events.ts";
import * as files from "./files.ts";
import { type Libc, libc } from "./libc.ts";
import { LinuxMapping } from "./mapping.ts";
import * as memory from "./memory.ts";
import { map } from "./pages.ts";

/**
 * The Linux this process runs on. It holds nothing open by itself: what its caller closes and disposes is all there is.
 *
 * Files are opened close-on-exec, since a child process that inherits `/dev/vfio/25` would keep the group busy.
 *
 * @example
 * ```ts
 * import { O_RDWR, VFIO_GET_API_VERSION } from "vfio-ts";
 * import { LinuxKernel } from "vfio-ts/kernel-linux";
 *
 * const kernel = new LinuxKernel();
 * console.log(kernel.name); // such as Linux 6.12.95
 * const container = kernel.open("/dev/vfio/vfio", O_RDWR); // KernelError ENOENT where the module vfio is not loaded
 * kernel.ioctl(container, VFIO_GET_API_VERSION); // 0
 * kernel.close(container);
 * ```
 */
export class LinuxKernel implements Kernel {
	readonly name: string;
	readonly clock: Clock = new LinuxClock();
	readonly #libc: Libc = libc();
	readonly #descriptors = new Descriptors();
	readonly #events = new Events(this.#libc, this.#descriptors);

	/** @throws VfioError `no-vfio` when this is not Linux, or koffi does not load here */
	constructor() {
		this.name = `Linux ${release(this.#libc)}`;
	}

	/** @inheritdoc */
	open(path: string, flags: number): number {
		const fd = this.#libc.open(path, flags | O_CLOEXEC, 0);
		if (fd < 0) throw new KernelError(this.#libc.errno(), "open", path);
		this.#descriptors.opened(fd, path);
		return fd;
	}

	/** @inheritdoc */
	close(fd: number): void {
		this.#events.forget(fd);
		const error = this.#libc.close(fd) < 0 ? this.#descriptors.error(this.#libc.errno(), "close", fd) : undefined;
		// Whatever close(2) says, the descriptor is gone.
		this.#descriptors.closed(fd);
		if (error) throw error;
	}

	/** @inheritdoc */
	ioctl(fd: number, request: number, argument: Uint8Array | number = 0): number {
		const result =
			typeof argument === "number"
				? this.#libc.ioctlInteger(fd, request, argument)
				: this.#libc.ioctl(fd, request, argument);
		if (result < 0) {
			const errno = this.#libc.errno();
			const target = this.#descriptors.target(fd);
			throw new KernelError(errno, requestName(request, vfioFileKind(target)), target);
		}
		if (request === VFIO_GROUP_GET_DEVICE_FD && typeof argument !== "number")
			this.#descriptors.opened(result, deviceName(argument));
		return result;
	}

	/** @inheritdoc */
	read(fd: number, buffer: Uint8Array): number {
		const count = this.#libc.read(fd, buffer, buffer.length);
		if (count < 0) throw this.#descriptors.error(this.#libc.errno(), "read", fd);
		return count;
	}

	/** @inheritdoc */
	write(fd: number, buffer: Uint8Array): number {
		const count = this.#libc.write(fd, buffer, buffer.length);
		if (count < 0) throw this.#descriptors.error(this.#libc.errno(), "write", fd);
		return count;
	}

	/** @inheritdoc */
	pread(fd: number, buffer: Uint8Array, offset: number): number {
		const count = this.#libc.pread(fd, buffer, buffer.length, offset);
		if (count < 0) throw this.#descriptors.error(this.#libc.errno(), "pread", fd);
		return count;
	}

	/** @inheritdoc */
	pwrite(fd: number, buffer: Uint8Array, offset: number): number {
		const count = this.#libc.pwrite(fd, buffer, buffer.length, offset);
		if (count < 0) throw this.#descriptors.error(this.#libc.errno(), "pwrite", fd);
		return count;
	}

	/** @inheritdoc */
	mmap(fd: number, length: number, protection: number, flags: number, offset: number): Mapping {
		const target = this.#descriptors.target(fd);
		const address = map(this.#libc, length, protection, flags, fd, offset, target);
		return new LinuxMapping(this.#libc, address, length, protection, target);
	}

	/** @inheritdoc */
	eventfd(initial = 0): number {
		return this.#events.create(initial);
	}

	/**
	 * The process stays alive while anything is watched. An error that a callback throws is an uncaught exception, and
	 * the other callbacks run all the same. A worker thread must dispose its watches before it is terminated: a signal that
	 * arrives while `Worker.terminate()` is at work makes koffi 3.3.4 abort the process.
	 *
	 * @inheritdoc
	 */
	watch(fd: number, onSignal: (count: number) => void): Disposable {
		return this.#events.watch(fd, onSignal);
	}

	/**
	 * Up to 4 GiB at a time with Node 20.
	 *
	 * @inheritdoc
	 */
	allocate(length: number, options?: AllocateOptions): Memory {
		return memory.allocate(this.#libc, length, options);
	}

	/** @inheritdoc */
	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		return memory.adopt(this.#libc, buffer);
	}

	/** @inheritdoc */
	readFile(path: string): Uint8Array {
		return files.readFile(this.#libc, path);
	}

	/** @inheritdoc */
	writeFile(path: string, text: string): void {
		files.writeFile(this.#libc, path, text);
	}

	/** @inheritdoc */
	readLink(path: string): string {
		return files.readLink(this.#libc, path);
	}

	/** @inheritdoc */
	readDirectory(path: string): string[] {
		return files.readDirectory(this.#libc, path);
	}
}

function text(bytes: Uint8Array): string {
	const end = bytes.indexOf(0);
	return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** struct utsname: six fields of 65 bytes, the third is the release. */
function release(libc: Libc): string {
	const utsname = new Uint8Array(6 * 65);
	libc.uname(utsname);
	return text(utsname.subarray(2 * 65, 3 * 65));
}

/** What VFIO_GROUP_GET_DEVICE_FD was given: the device, and after a space perhaps its options. */
function deviceName(argument: Uint8Array): string {
	return text(argument).split(" ", 1)[0] ?? "device";
}
