/**
 * The third argument of ioctl(2), for callers in this program.
 *
 * @module
 */
import type { AddressSpace } from "./address-space.ts";
import type { IoctlArgument } from "./file.ts";

/** A structure in the caller's memory. */
export class BytesArgument implements IoctlArgument {
	// No request takes an integer like this, nor is an address of a process so high.
	readonly value = Number.MAX_SAFE_INTEGER;
	readonly #bytes: Uint8Array;

	constructor(bytes: Uint8Array) {
		this.#bytes = bytes;
	}

	read(length: number, offset = 0): Uint8Array | undefined {
		const end = offset + length;
		return end <= this.#bytes.length ? this.#bytes.subarray(offset, end) : undefined;
	}

	write(bytes: Uint8Array, offset = 0): boolean {
		if (offset + bytes.length > this.#bytes.length) return false;
		this.#bytes.set(bytes, offset);
		return true;
	}
}

/** An integer. Where a request takes a pointer, it is an address of the process. */
export class NumberArgument implements IoctlArgument {
	readonly value: number;
	readonly #memory: AddressSpace;

	constructor(value: number, memory: AddressSpace) {
		this.value = value;
		this.#memory = memory;
	}

	read(length: number, offset = 0): Uint8Array | undefined {
		return this.value < 0 ? undefined : this.#memory.read(BigInt(this.value) + BigInt(offset), length);
	}

	write(bytes: Uint8Array, offset = 0): boolean {
		return this.value >= 0 && this.#memory.write(BigInt(this.value) + BigInt(offset), bytes);
	}
}
