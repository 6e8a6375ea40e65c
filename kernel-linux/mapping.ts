/**
 * A device's region in memory, as registers: every access here is one load or one store of that width.
 *
 * What JavaScript offers for this was measured with a single-step tracer. `DataView` and `Buffer` read byte by byte until
 * they are compiled; plain reads of a typed array are merged by newer engines and dropped by all when unused;
 * `Atomics.load` is always one load. Plain writes of a typed array are always one store each, while `Atomics.store` is an
 * exchange, which would also read the register. A plain read whose value goes to another array is faster by some
 * nanoseconds and was seen to happen each time, but only today's alias analysis keeps it from being merged.
 *
 * @module
 */
import { KernelError } from "../core/errors.ts";
import type { AccessWidth, Mapping } from "../core/kernel.ts";
import { EBADF, EFAULT, EINVAL } from "../core/uapi/errno.ts";
import { PROT_READ, PROT_WRITE } from "../core/uapi/fcntl.ts";
import type { Libc } from "./libc.ts";
import { retire } from "./pages.ts";

/** Bytes of one buffer: longer ones abort Node 20, and offsets in this one are small integers. A multiple of every width. */
const WINDOW = 2 ** 30;

/** One buffer, seen in each width. */
class Window {
	readonly buffer: ArrayBuffer;
	readonly u8: Uint8Array;
	readonly u16: Uint16Array;
	readonly u32: Uint32Array;
	readonly u64: BigUint64Array;

	constructor(buffer: ArrayBuffer) {
		const length = buffer.byteLength;
		this.buffer = buffer;
		this.u8 = new Uint8Array(buffer);
		this.u16 = new Uint16Array(buffer, 0, Math.floor(length / 2));
		this.u32 = new Uint32Array(buffer, 0, Math.floor(length / 4));
		this.u64 = new BigUint64Array(buffer, 0, Math.floor(length / 8));
	}

	read(offset: number, width: AccessWidth): number {
		if (width === 4) return Atomics.load(this.u32, offset >>> 2);
		return width === 2 ? Atomics.load(this.u16, offset >>> 1) : Atomics.load(this.u8, offset);
	}

	read64(offset: number): bigint {
		return Atomics.load(this.u64, offset >>> 3);
	}

	write(offset: number, width: AccessWidth, value: number): void {
		if (width === 4) this.u32[offset >>> 2] = value;
		else if (width === 2) this.u16[offset >>> 1] = value;
		else this.u8[offset] = value;
	}
}

const NOTHING = new Window(new ArrayBuffer(0));

/**
 * A mapped region. Linux answers an access that the device cannot take (its memory decoding is off, it is asleep) with
 * SIGBUS, which ends the process: the owner must not touch a mapping in that state.
 */
export class LinuxMapping implements Mapping {
	readonly address: bigint;
	readonly length: number;
	readonly #libc: Libc;
	readonly #target: string;
	/** All of most BARs, and the part with the registers of the others. */
	#first: Window;
	readonly #windows: Window[] = [];
	/** The bytes that may be read and written: none without the protection for it, none after dispose. */
	#readable: number;
	#writable: number;
	#closed = false;

	/** @param target what is mapped, for errors */
	constructor(libc: Libc, address: bigint, length: number, protection: number, target: string) {
		this.#libc = libc;
		this.#target = target;
		this.address = address;
		this.length = length;
		this.#readable = protection & PROT_READ ? length : 0;
		this.#writable = protection & PROT_WRITE ? length : 0;
		for (let at = 0; at < length; at += WINDOW)
			this.#windows.push(new Window(libc.view(address + BigInt(at), Math.min(WINDOW, length - at))));
		this.#first = this.#windows[0] as Window;
	}

	/** @inheritdoc */
	read(offset: number, width: AccessWidth): number {
		if (!(offset >= 0 && offset + width <= this.#readable && offset % width === 0)) this.#refuse("read", offset, width);
		return offset < WINDOW ? this.#first.read(offset, width) : this.#window(offset).read(offset % WINDOW, width);
	}

	/** @inheritdoc */
	read64(offset: number): bigint {
		if (!(offset >= 0 && offset + 8 <= this.#readable && offset % 8 === 0)) this.#refuse("read", offset, 8);
		return this.#window(offset).read64(offset % WINDOW);
	}

	/** @inheritdoc */
	write(offset: number, width: AccessWidth, value: number): void {
		if (!(offset >= 0 && offset + width <= this.#writable && offset % width === 0))
			this.#refuse("write", offset, width);
		if (offset < WINDOW) this.#first.write(offset, width, value);
		else this.#window(offset).write(offset % WINDOW, width, value);
	}

	/** @inheritdoc */
	write64(offset: number, value: bigint): void {
		if (!(offset >= 0 && offset + 8 <= this.#writable && offset % 8 === 0)) this.#refuse("write", offset, 8);
		this.#window(offset).u64[(offset % WINDOW) >>> 3] = value;
	}

	[Symbol.dispose](): void {
		if (this.#closed) return;
		this.#closed = true;
		this.#readable = 0;
		this.#writable = 0;
		const buffers = this.#windows.map((window) => window.buffer);
		// The addresses are free for others once nobody has the views any more, whoever keeps this object.
		this.#windows.length = 0;
		this.#first = NOTHING;
		retire(this.#libc, this.address, buffers, this.#target);
	}

	#window(offset: number): Window {
		return this.#windows[Math.floor(offset / WINDOW)] as Window;
	}

	/** Outside, or against the protection, the hardware would answer SIGSEGV: EFAULT is what a system call says of that. */
	#refuse(call: "read" | "write", offset: number, width: number): never {
		const end = call === "read" ? this.#readable : this.#writable;
		const errno = this.#closed ? EBADF : offset < 0 || offset + width > end ? EFAULT : EINVAL;
		throw new KernelError(errno, call, this.#target);
	}
}
