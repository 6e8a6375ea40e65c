/**
 * Sees every system call: a kernel around another one that counts calls by name and tells an observer about each.
 *
 * @module
 */
import { KernelError } from "./errors.ts";
import type { AllocateOptions, Clock, Kernel, Mapping, Memory } from "./kernel.ts";
import { errnoName } from "./uapi/errno.ts";
import { describeArgument, requestName, type VfioFileKind, vfioFileKind } from "./uapi/requests.ts";

/** One system call, decoded. */
export interface TracedCall {
	/** `open`, `pread`, …; an ioctl is named after its request, such as `VFIO_IOMMU_MAP_DMA`. */
	readonly name: string;
	/** What it was called on: a path, or `0000:05:00.0`. */
	readonly target: string;
	/** The arguments, decoded after the call, so that what the kernel wrote is seen. */
	readonly arguments: string;
	/** What it returned: a number, a short text, or an errno's name such as `-EBUSY`. */
	readonly result: string;
}

/** What a {@link TracingKernel} reports. */
export interface TraceOptions {
	/** Which calls to decode and report, by name; none when left out. Counting is always on. */
	readonly wants?: (name: string) => boolean;
	/** Told of each wanted call when it has returned. */
	readonly onCall?: (call: TracedCall) => void;
}

/**
 * Counts the system calls of a program by name, and decodes those that are wanted. A call nobody wants costs one map
 * update.
 *
 * @example
 * ```ts
 * const kernel = new TracingKernel(linux.process(), {
 *   wants: (name) => name.startsWith("VFIO_IOMMU_"),
 *   onCall: (call) => console.log(`${call.name}(${call.target}, ${call.arguments}) = ${call.result}`),
 * });
 * ```
 */
export class TracingKernel implements Kernel {
	readonly #kernel: Kernel;
	readonly #wants: (name: string) => boolean;
	readonly #onCall: (call: TracedCall) => void;
	readonly #counts = new Map<string, number>();
	readonly #files = new Map<number, { readonly target: string; readonly kind: VfioFileKind }>();

	constructor(kernel: Kernel, options: TraceOptions = {}) {
		this.#kernel = kernel;
		this.#wants = options.wants ?? (() => false);
		this.#onCall = options.onCall ?? (() => {});
	}

	/** How often each call was made, by name. */
	get counts(): ReadonlyMap<string, number> {
		return this.#counts;
	}

	get name(): string {
		return this.#kernel.name;
	}
	get clock(): Clock {
		return this.#kernel.clock;
	}

	#target(fd: number): string {
		return this.#files.get(fd)?.target ?? `fd ${fd}`;
	}

	/** Counts a call. @returns whether somebody wants it decoded: nothing is allocated for one that nobody wants */
	#wanted(name: string): boolean {
		this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
		return this.#wants(name);
	}

	#report<T>(
		name: string,
		target: string,
		call: () => T,
		describe: (result: T | undefined) => string,
		result: (value: T) => string,
	): T {
		try {
			const value = call();
			this.#onCall({ name, target, arguments: describe(value), result: result(value) });
			return value;
		} catch (error) {
			const failure = error instanceof KernelError ? `-${errnoName(error.errno)}` : String(error);
			this.#onCall({ name, target, arguments: describe(undefined), result: failure });
			throw error;
		}
	}

	open(path: string, flags: number): number {
		const fd = !this.#wanted("open")
			? this.#kernel.open(path, flags)
			: this.#report(
					"open",
					path,
					() => this.#kernel.open(path, flags),
					() => `flags 0x${flags.toString(16)}`,
					String,
				);
		this.#files.set(fd, { target: path, kind: vfioFileKind(path) });
		return fd;
	}
	close(fd: number): void {
		if (!this.#wanted("close")) this.#kernel.close(fd);
		else
			this.#report(
				"close",
				this.#target(fd),
				() => this.#kernel.close(fd),
				() => "",
				() => "0",
			);
		this.#files.delete(fd);
	}
	ioctl(fd: number, request: number, argument?: Uint8Array | number): number {
		const kind = this.#files.get(fd)?.kind ?? "device";
		const name = requestName(request, kind);
		const value = !this.#wanted(name)
			? this.#kernel.ioctl(fd, request, argument)
			: this.#report(
					name,
					this.#target(fd),
					() => this.#kernel.ioctl(fd, request, argument),
					() => describeArgument(request, kind, argument),
					String,
				);
		if (name === "VFIO_GROUP_GET_DEVICE_FD")
			this.#files.set(value, { target: describeArgument(request, kind, argument).slice(1, -1), kind: "device" });
		return value;
	}
	read(fd: number, buffer: Uint8Array): number {
		if (!this.#wanted("read")) return this.#kernel.read(fd, buffer);
		return this.#report(
			"read",
			this.#target(fd),
			() => this.#kernel.read(fd, buffer),
			(count) => data(buffer, count),
			String,
		);
	}
	write(fd: number, buffer: Uint8Array): number {
		if (!this.#wanted("write")) return this.#kernel.write(fd, buffer);
		return this.#report(
			"write",
			this.#target(fd),
			() => this.#kernel.write(fd, buffer),
			() => data(buffer, buffer.length),
			String,
		);
	}
	pread(fd: number, buffer: Uint8Array, offset: number): number {
		if (!this.#wanted("pread")) return this.#kernel.pread(fd, buffer, offset);
		return this.#report(
			"pread",
			this.#target(fd),
			() => this.#kernel.pread(fd, buffer, offset),
			(count) => `${region(offset)}, ${data(buffer, count)}`,
			String,
		);
	}
	pwrite(fd: number, buffer: Uint8Array, offset: number): number {
		if (!this.#wanted("pwrite")) return this.#kernel.pwrite(fd, buffer, offset);
		return this.#report(
			"pwrite",
			this.#target(fd),
			() => this.#kernel.pwrite(fd, buffer, offset),
			() => `${region(offset)}, ${data(buffer, buffer.length)}`,
			String,
		);
	}
	mmap(fd: number, length: number, protection: number, flags: number, offset: number): Mapping {
		if (!this.#wanted("mmap")) return this.#kernel.mmap(fd, length, protection, flags, offset);
		return this.#report(
			"mmap",
			this.#target(fd),
			() => this.#kernel.mmap(fd, length, protection, flags, offset),
			() => `${region(offset)}, 0x${length.toString(16)} bytes`,
			(mapping) => `0x${mapping.address.toString(16)}`,
		);
	}
	eventfd(initial?: number): number {
		const fd = !this.#wanted("eventfd")
			? this.#kernel.eventfd(initial)
			: this.#report(
					"eventfd",
					"",
					() => this.#kernel.eventfd(initial),
					() => String(initial ?? 0),
					String,
				);
		this.#files.set(fd, { target: `eventfd ${fd}`, kind: "device" });
		return fd;
	}
	watch(fd: number, onSignal: (count: number) => void): Disposable {
		if (!this.#wanted("watch")) return this.#kernel.watch(fd, onSignal);
		return this.#report(
			"watch",
			this.#target(fd),
			() => this.#kernel.watch(fd, onSignal),
			() => "",
			() => "0",
		);
	}
	allocate(length: number, options?: AllocateOptions): Memory {
		if (!this.#wanted("allocate")) return this.#kernel.allocate(length, options);
		return this.#report(
			"allocate",
			"",
			() => this.#kernel.allocate(length, options),
			() => `${length} bytes`,
			(memory) => `0x${memory.address.toString(16)}`,
		);
	}
	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		if (!this.#wanted("adopt")) return this.#kernel.adopt(buffer);
		return this.#report(
			"adopt",
			"",
			() => this.#kernel.adopt(buffer),
			(memory) => `${memory?.length ?? 0} bytes`,
			(memory) => `0x${memory.address.toString(16)}`,
		);
	}
	readFile(path: string): Uint8Array {
		if (!this.#wanted("readFile")) return this.#kernel.readFile(path);
		return this.#report(
			"readFile",
			path,
			() => this.#kernel.readFile(path),
			() => "",
			(bytes) => `${bytes.length} bytes`,
		);
	}
	writeFile(path: string, text: string): void {
		if (!this.#wanted("writeFile")) {
			this.#kernel.writeFile(path, text);
			return;
		}
		this.#report(
			"writeFile",
			path,
			() => this.#kernel.writeFile(path, text),
			() => JSON.stringify(text),
			() => "0",
		);
	}
	readLink(path: string): string {
		if (!this.#wanted("readLink")) return this.#kernel.readLink(path);
		return this.#report(
			"readLink",
			path,
			() => this.#kernel.readLink(path),
			() => "",
			(text) => JSON.stringify(text),
		);
	}
	readDirectory(path: string): string[] {
		if (!this.#wanted("readDirectory")) return this.#kernel.readDirectory(path);
		return this.#report(
			"readDirectory",
			path,
			() => this.#kernel.readDirectory(path),
			() => "",
			(names) => `${names.length} names`,
		);
	}
}

/** vfio-pci puts region n at n << 40 of the device's file. */
function region(offset: number): string {
	const index = Math.floor(offset / 2 ** 40);
	return `region ${index}+0x${(offset - index * 2 ** 40).toString(16)}`;
}

function data(buffer: Uint8Array, count: number | undefined): string {
	if (count === undefined) return `${buffer.length} bytes`;
	const shown = Array.from(buffer.subarray(0, Math.min(count, 8)), (byte) => byte.toString(16).padStart(2, "0")).join(
		" ",
	);
	return `${count} bytes${count > 0 ? `: ${shown}${count > 8 ? " …" : ""}` : ""}`;
}
