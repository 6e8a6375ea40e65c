/**
 * Memory of this process whose address DMA can use.
 *
 * @module
 */
import { KernelError } from "../core/errors.ts";
import type { AllocateOptions, Memory } from "../core/kernel.ts";
import { EFAULT, ENOMEM } from "../core/uapi/errno.ts";
import { MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../core/uapi/fcntl.ts";
import { type Libc, MAP_ANONYMOUS } from "./libc.ts";
import { LONGEST_VIEW, map, retire } from "./pages.ts";

/** @see Kernel.allocate */
export function allocate(libc: Libc, length: number, options: AllocateOptions = {}): Memory {
	const pageSize = libc.getpagesize();
	const rounded = Math.ceil(length / pageSize) * pageSize;
	const target = `${length} bytes of memory`;
	if (rounded > LONGEST_VIEW) throw new KernelError(ENOMEM, "mmap", target);
	const protection = options.protection ?? PROT_READ | PROT_WRITE;
	const address = map(libc, rounded, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, target);
	return new AllocatedMemory(libc, address, rounded);
}

/** @see Kernel.adopt */
export function adopt(libc: Libc, buffer: Uint8Array | (() => Uint8Array)): Memory {
	return new AdoptedMemory(libc, typeof buffer === "function" ? buffer : () => buffer);
}

/** Pages of its own. */
class AllocatedMemory implements Memory {
	readonly address: bigint;
	readonly length: number;
	readonly #libc: Libc;
	#bytes: Uint8Array<ArrayBuffer> | undefined;

	constructor(libc: Libc, address: bigint, length: number) {
		this.#libc = libc;
		this.address = address;
		this.length = length;
		this.#bytes = new Uint8Array(libc.view(address, length));
	}

	get bytes(): Uint8Array {
		if (!this.#bytes) throw new KernelError(EFAULT, "bytes", "freed memory");
		return this.#bytes;
	}

	[Symbol.dispose](): void {
		const bytes = this.#bytes;
		if (!bytes) return;
		this.#bytes = undefined;
		retire(this.#libc, this.address, [bytes.buffer], `${this.length} bytes of memory`);
	}
}

/** A buffer of somebody else's, asked for anew each time because it may have been detached and remade. */
class AdoptedMemory implements Memory {
	readonly #libc: Libc;
	#take: (() => Uint8Array) | undefined;

	constructor(libc: Libc, take: () => Uint8Array) {
		this.#libc = libc;
		this.#take = take;
	}

	get bytes(): Uint8Array {
		if (!this.#take) throw new KernelError(EFAULT, "bytes", "forgotten memory");
		return this.#take();
	}

	get address(): bigint {
		return this.#libc.addressOf(this.bytes);
	}

	get length(): number {
		return this.bytes.length;
	}

	[Symbol.dispose](): void {
		this.#take = undefined;
	}
}
