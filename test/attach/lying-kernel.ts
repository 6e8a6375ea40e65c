// A kernel around another one whose answers cannot be relied on: short transfers, structures with nonsense in them, counts
// and errnos out of the blue, signals that interrupt for ever. What gives things back still reaches the kernel behind it.
import { KernelError } from "../../core/errors.ts";
import type { AllocateOptions, Clock, Kernel, Mapping, Memory } from "../../core/kernel.ts";
import {
	VFIO_DEVICE_SET_IRQS,
	VFIO_GROUP_GET_DEVICE_FD,
	VFIO_GROUP_SET_CONTAINER,
	VFIO_GROUP_UNSET_CONTAINER,
	VFIO_IOMMU_UNMAP_DMA,
} from "../../core/uapi/vfio.ts";

const ERRNOS = [1, 4, 5, 6, 11, 12, 13, 14, 16, 17, 19, 22, 25, 28, 71, 110, 9999];
const WORDS = [0, 1, 7, 0x18, 0xff, 0x1000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff];
/** Only the kernel's own answers count here, since what is lost by them cannot be given back. */
const RELEASES = new Set([VFIO_GROUP_UNSET_CONTAINER, VFIO_IOMMU_UNMAP_DMA]);
const HANDOUTS = new Set([VFIO_GROUP_GET_DEVICE_FD, VFIO_GROUP_SET_CONTAINER]);

/** A number from 0 up to but not including `end`, the same for the same seed. */
export function random(seed: number): (end: number) => number {
	let state = seed | 0 || 1;
	return (end) => {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		return (state >>> 0) % end;
	};
}

export class LyingKernel implements Kernel {
	readonly name = "lying";
	readonly clock: Clock;
	readonly #kernel: Kernel;
	readonly #random: (end: number) => number;
	readonly #odds: number;
	/** What it lied about. */
	readonly lies: string[] = [];
	/** It tells the truth while this is false. */
	lying = true;

	/** @param odds one answer in so many is a lie */
	constructor(kernel: Kernel, seed: number, odds: number) {
		this.#kernel = kernel;
		this.clock = kernel.clock;
		this.#random = random(seed);
		this.#odds = odds;
	}

	open(path: string, flags: number): number {
		this.#mayRefuse("open");
		return this.#kernel.open(path, flags);
	}
	close(fd: number): void {
		this.#kernel.close(fd);
	}
	ioctl(fd: number, request: number, argument?: Uint8Array | number): number {
		if (RELEASES.has(request)) return this.#kernel.ioctl(fd, request, argument);
		const what = `ioctl 0x${request.toString(16)}`;
		const lie = this.#lies();
		if (lie && (HANDOUTS.has(request) || this.#random(3) === 0)) this.#refuse(what);
		const result = this.#kernel.ioctl(fd, request, argument);
		if (!lie || HANDOUTS.has(request)) return result;
		if (argument instanceof Uint8Array && this.#random(4) > 0 && request !== VFIO_DEVICE_SET_IRQS) {
			this.lies.push(`${what} words`);
			const view = new DataView(argument.buffer, argument.byteOffset, argument.length & ~3);
			for (let n = 1 + this.#random(6); n > 0 && view.byteLength > 0; n--)
				view.setUint32(4 * this.#random(view.byteLength / 4), WORDS[this.#random(WORDS.length)] as number, true);
			return result;
		}
		this.lies.push(`${what} result`);
		return WORDS[this.#random(WORDS.length)] as number;
	}
	read(fd: number, buffer: Uint8Array): number {
		return this.#short("read", this.#kernel.read(fd, buffer), buffer);
	}
	write(fd: number, buffer: Uint8Array): number {
		return this.#short("write", this.#kernel.write(fd, buffer));
	}
	pread(fd: number, buffer: Uint8Array, offset: number): number {
		return this.#short("pread", this.#kernel.pread(fd, buffer, offset), buffer);
	}
	pwrite(fd: number, buffer: Uint8Array, offset: number): number {
		return this.#short("pwrite", this.#kernel.pwrite(fd, buffer, offset));
	}
	mmap(fd: number, length: number, protection: number, flags: number, offset: number): Mapping {
		this.#mayRefuse("mmap");
		return this.#kernel.mmap(fd, length, protection, flags, offset);
	}
	eventfd(initial?: number): number {
		this.#mayRefuse("eventfd");
		return this.#kernel.eventfd(initial);
	}
	watch(fd: number, onSignal: (count: number) => void): Disposable {
		this.#mayRefuse("watch");
		return this.#kernel.watch(fd, onSignal);
	}
	allocate(length: number, options?: AllocateOptions): Memory {
		this.#mayRefuse("allocate");
		return this.#kernel.allocate(length, options);
	}
	adopt(buffer: Uint8Array | (() => Uint8Array)): Memory {
		return this.#kernel.adopt(buffer);
	}
	readFile(path: string): Uint8Array {
		if (!this.#lies()) return this.#kernel.readFile(path);
		if (this.#random(3) === 0) this.#refuse(`readFile ${path}`);
		this.lies.push(`readFile ${path}`);
		const bytes = this.#kernel.readFile(path).slice();
		if (this.#random(3) === 0) return bytes.subarray(0, this.#random(bytes.length + 1));
		for (let n = 1 + this.#random(8); n > 0 && bytes.length > 0; n--)
			bytes[this.#random(bytes.length)] = this.#random(256);
		return bytes;
	}
	writeFile(path: string, text: string): void {
		this.#kernel.writeFile(path, text);
	}
	readLink(path: string): string {
		if (!this.#lies()) return this.#kernel.readLink(path);
		this.lies.push(`readLink ${path}`);
		return ["", "/", "..", "../../nonsense", "../../../kernel/iommu_groups/", "../99999999999999999999"][
			this.#random(6)
		] as string;
	}
	readDirectory(path: string): string[] {
		const names = this.#kernel.readDirectory(path);
		if (!this.#lies()) return names;
		this.lies.push(`readDirectory ${path}`);
		return [["", "..", "0000:00:00.0", "nonsense", ...names], [], names.slice(1)][this.#random(3)] as string[];
	}

	#lies(): boolean {
		return this.lying && this.#random(this.#odds) === 0;
	}

	#mayRefuse(what: string): void {
		if (this.#lies()) this.#refuse(what);
	}

	#refuse(what: string): never {
		const errno = ERRNOS[this.#random(ERRNOS.length)] as number;
		this.lies.push(`${what}: errno ${errno}`);
		throw new KernelError(errno, what, "lie");
	}

	/** Fewer bytes, none, another content; or an errno after the deed is done. */
	#short(what: string, done: number, buffer?: Uint8Array): number {
		if (!this.#lies()) return done;
		const kind = this.#random(4);
		if (kind === 0) this.#refuse(what);
		this.lies.push(what);
		if (kind === 1 && buffer) {
			buffer.fill(WORDS[this.#random(WORDS.length)] as number);
			return done;
		}
		return kind === 2 ? 0 : this.#random(done + 1);
	}
}
