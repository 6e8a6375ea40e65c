/**
 * The MSI-X table and pending bits as the guest sees them. The guest never touches the device's own table: the kernel
 * programs that with the host's messages (PCI Local Bus 3.0, 6.8.2).
 *
 * @module
 */
import { allOnes, load, store } from "../bytes.ts";
import type { AccessWidth } from "../kernel.ts";
import {
	PCI_MSIX_ENTRY_CTRL_MASKBIT,
	PCI_MSIX_ENTRY_DATA,
	PCI_MSIX_ENTRY_SIZE,
	PCI_MSIX_ENTRY_VECTOR_CTRL,
} from "../uapi/pci_regs.ts";

/** Entries, and a pending bit for each. */
export class MsixTable {
	readonly vectors: number;
	readonly #entries: Uint8Array;
	/** Each entry's address, kept beside the bytes so that delivering a message makes no bigint. */
	readonly #addresses: bigint[];
	readonly #pending: Uint32Array;
	#pendingCount = 0;

	/** @param vectors 1 to 2048 */
	constructor(vectors: number) {
		this.vectors = vectors;
		this.#entries = new Uint8Array(vectors * PCI_MSIX_ENTRY_SIZE);
		this.#addresses = new Array<bigint>(vectors).fill(0n);
		this.#pending = new Uint32Array(Math.ceil(vectors / 32));
		this.reset();
	}

	/** Power-on state: every vector masked, nothing pending. */
	reset(): void {
		this.#entries.fill(0);
		this.#addresses.fill(0n);
		this.clearAllPending();
		for (let at = PCI_MSIX_ENTRY_VECTOR_CTRL; at < this.#entries.length; at += PCI_MSIX_ENTRY_SIZE)
			this.#entries[at] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}

	/** The entries as a guest reads them, and the vectors that are pending: what {@link load} takes. */
	save(): { entries: Uint8Array; pending: number[] } {
		const pending: number[] = [];
		for (let vector = 0; vector < this.vectors; vector++) if (this.pending(vector)) pending.push(vector);
		return { entries: this.#entries.slice(), pending };
	}

	/** @param entries as many bytes as {@link save} gave @param pending vectors; what is none is left out */
	load(entries: Uint8Array, pending: readonly number[]): void {
		for (let at = 0; at < this.#entries.length; at += 4) this.write(at, 4, load(entries, at, 4));
		this.clearAllPending();
		for (const vector of pending) if (vector >= 0 && vector < this.vectors) this.setPending(vector, true);
	}

	/**
	 * @param offset bytes in the table
	 * @returns all ones for anything but an aligned dword: the result of others is undefined by the specification
	 */
	read(offset: number, width: AccessWidth): number {
		return width === 4 && (offset & 3) === 0 ? load(this.#entries, offset, 4) : allOnes(width);
	}

	/**
	 * @param offset bytes in the table
	 * @returns the vector whose control dword was written, or -1
	 */
	write(offset: number, width: AccessWidth, value: number): number {
		if (width !== 4 || (offset & 3) !== 0 || offset < 0 || offset >= this.#entries.length) return -1;
		store(this.#entries, offset, 4, value);
		const vector = Math.floor(offset / PCI_MSIX_ENTRY_SIZE);
		const field = offset % PCI_MSIX_ENTRY_SIZE;
		if (field < PCI_MSIX_ENTRY_DATA) {
			const base = vector * PCI_MSIX_ENTRY_SIZE;
			const low = BigInt(load(this.#entries, base, 4) & ~3) & 0xffff_ffffn;
			this.#addresses[vector] = (BigInt(load(this.#entries, base + 4, 4)) << 32n) | low;
		}
		return field === PCI_MSIX_ENTRY_VECTOR_CTRL ? vector : -1;
	}

	/** The vector's own mask bit; the function's mask is the capability's. */
	masked(vector: number): boolean {
		const control = this.#entries[vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] ?? 0xff;
		return (control & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0;
	}

	/** Where the vector's message goes. */
	address(vector: number): bigint {
		return this.#addresses[vector] ?? 0n;
	}

	/** What the vector's message says, 32 bits. */
	data(vector: number): number {
		return load(this.#entries, vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_DATA, 4);
	}

	/** Whether any vector is pending. */
	get anyPending(): boolean {
		return this.#pendingCount > 0;
	}

	/** The vector's bit of the pending-bit array. */
	pending(vector: number): boolean {
		return (((this.#pending[vector >>> 5] ?? 0) >>> (vector & 31)) & 1) === 1;
	}

	/** Sets or clears the vector's pending bit. */
	setPending(vector: number, pending: boolean): void {
		if (this.pending(vector) === pending) return;
		this.#pending[vector >>> 5] = (this.#pending[vector >>> 5] as number) ^ (1 << (vector & 31));
		this.#pendingCount += pending ? 1 : -1;
	}

	/** Forgets every pending vector. */
	clearAllPending(): void {
		this.#pending.fill(0);
		this.#pendingCount = 0;
	}

	/** 32 pending bits. @param offset bytes in the pending-bit array; @returns 0 past its last vector */
	pendingDword(offset: number): number {
		return this.#pending[offset >>> 2] ?? 0;
	}
}
