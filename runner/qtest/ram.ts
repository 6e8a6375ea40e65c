/**
 * The RAM of the qtest machine, which may grow and shrink.
 *
 * @module
 */
import type { Kernel, Memory } from "../../core/kernel.ts";
import type { GuestMemory, GuestMemoryListener, GuestMemoryRegion } from "../../core/machine/mod.ts";

/** A graphics card's frame buffer is there, not RAM. */
const VGA_START = 0xa_0000;
/** Option ROMs and firmware are from 0xc0000 on: this machine has none, and no RAM there either. */
const FIRST_MEBIBYTE = 0x10_0000;

/** RAM that was added at once, and is removed at once. */
interface Bank {
	readonly start: number;
	readonly memory: Memory;
	readonly regions: readonly GuestMemoryRegion[];
}

/** Guest memory made of banks. */
export class Ram implements GuestMemory, Disposable {
	readonly #kernel: Kernel;
	readonly #banks: Bank[] = [];
	readonly #listeners = new Set<GuestMemoryListener>();

	/** @param size bytes from address 0 on */
	constructor(kernel: Kernel, size: number) {
		this.#kernel = kernel;
		this.add(0, size);
	}

	/** Adds a bank. @param start guest-physical, page aligned @param size bytes @returns dispose it to remove the bank */
	add(start: number, size: number): Disposable {
		const memory = this.#kernel.allocate(size);
		const region = (from: number, to: number): GuestMemoryRegion => ({
			guestAddress: BigInt(from),
			length: to - from,
			memory,
			offset: from - start,
			readOnly: false,
			kind: "ram",
		});
		const end = start + size;
		const regions = start > 0 ? [region(start, end)] : [region(0, Math.min(VGA_START, end))];
		if (start === 0 && end > FIRST_MEBIBYTE) regions.push(region(FIRST_MEBIBYTE, end));
		const bank = { start, memory, regions };
		this.#banks.push(bank);
		for (const listener of this.#listeners) for (const added of regions) listener.added(added);
		return { [Symbol.dispose]: () => this.#remove(bank) };
	}

	subscribe(listener: GuestMemoryListener): Disposable {
		this.#listeners.add(listener);
		const regions = this.#banks.flatMap((bank) => bank.regions);
		for (const region of regions.sort((a, b) => (a.guestAddress < b.guestAddress ? -1 : 1))) listener.added(region);
		return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
	}

	/** The bytes from an address to the end of its region; undefined where there is no RAM. */
	at(address: number): Uint8Array | undefined {
		for (const { start, memory, regions } of this.#banks) {
			for (const { guestAddress, length } of regions) {
				const first = Number(guestAddress);
				if (address >= first && address < first + length)
					return memory.bytes.subarray(address - start, first + length - start);
			}
		}
		return undefined;
	}

	/** Removes all of it. */
	[Symbol.dispose](): void {
		for (const bank of [...this.#banks].reverse()) this.#remove(bank);
		this.#listeners.clear();
	}

	#remove(bank: Bank): void {
		const at = this.#banks.indexOf(bank);
		if (at < 0) return;
		for (const listener of this.#listeners) for (const region of [...bank.regions].reverse()) listener.removed(region);
		this.#banks.splice(at, 1);
		bank.memory[Symbol.dispose]();
	}
}
