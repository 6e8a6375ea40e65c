/**
 * The MSI-X capability at work: the table and the pending bits inside a BAR.
 *
 * @module
 */
import type { AccessWidth } from "../../core/kernel.ts";
import {
	PCI_MSIX_BIR,
	PCI_MSIX_ENTRY_CTRL_MASKBIT,
	PCI_MSIX_ENTRY_DATA,
	PCI_MSIX_ENTRY_LOWER_ADDR,
	PCI_MSIX_ENTRY_SIZE,
	PCI_MSIX_ENTRY_UPPER_ADDR,
	PCI_MSIX_ENTRY_VECTOR_CTRL,
	PCI_MSIX_FLAGS,
	PCI_MSIX_FLAGS_ENABLE,
	PCI_MSIX_FLAGS_MASKALL,
	PCI_MSIX_FLAGS_QSIZE,
	PCI_MSIX_PBA,
	PCI_MSIX_TABLE,
} from "../../core/uapi/pci_regs.ts";
import { load, store } from "./little-endian.ts";
import type { MsixDescription } from "./model.ts";
import type { SendMessage } from "./msi-unit.ts";

/** What the registers of an MSI-X capability say. */
export function describeMsix(config: Uint8Array, offset: number): MsixDescription {
	const table = load(config, offset + PCI_MSIX_TABLE, 4);
	const pba = load(config, offset + PCI_MSIX_PBA, 4);
	return {
		vectors: (load(config, offset + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1,
		table: { bar: table & PCI_MSIX_BIR, offset: (table & ~PCI_MSIX_BIR) >>> 0 },
		pba: { bar: pba & PCI_MSIX_BIR, offset: (pba & ~PCI_MSIX_BIR) >>> 0 },
	};
}

/** Sends by MSI-X. */
export class MsixUnit implements MsixDescription {
	/** Where the capability is. */
	readonly offset: number;
	readonly vectors: number;
	readonly table: { readonly bar: number; readonly offset: number };
	readonly pba: { readonly bar: number; readonly offset: number };
	enabled = false;
	readonly #config: Uint8Array;
	readonly #send: SendMessage;
	readonly #entries: Uint8Array;
	readonly #pending: Uint8Array;
	/** Each entry's message address, so that sending allocates no bigint. */
	readonly #addresses: bigint[];
	#maskAll = false;

	constructor(config: Uint8Array, offset: number, send: SendMessage) {
		const { vectors, table, pba } = describeMsix(config, offset);
		this.#config = config;
		this.offset = offset;
		this.vectors = vectors;
		this.table = table;
		this.pba = pba;
		this.#send = send;
		this.#entries = new Uint8Array(vectors * PCI_MSIX_ENTRY_SIZE);
		this.#pending = new Uint8Array(Math.ceil(vectors / 64) * 8);
		this.#addresses = new Array<bigint>(vectors).fill(0n);
		this.reset();
		this.changed();
	}

	/** An access at this place of this BAR is to the table. */
	inTable(bar: number, offset: number): boolean {
		return bar === this.table.bar && offset >= this.table.offset && offset < this.table.offset + this.#entries.length;
	}

	/** An access at this place of this BAR is to the pending bits. */
	inPba(bar: number, offset: number): boolean {
		return bar === this.pba.bar && offset >= this.pba.offset && offset < this.pba.offset + this.#pending.length;
	}

	/** @param offset bytes from the BAR's start, in the table */
	readTable(offset: number, width: AccessWidth): number {
		return load(this.#entries, offset - this.table.offset, width);
	}

	/** @param offset bytes from the BAR's start, in the table. Unmasking an entry sends it if it is pending. */
	writeTable(offset: number, width: AccessWidth, value: number): void {
		const at = offset - this.table.offset;
		for (let index = 0; index < width && at + index < this.#entries.length; index++)
			this.#entries[at + index] = (value >>> (8 * index)) & 0xff;
		const vector = Math.floor(at / PCI_MSIX_ENTRY_SIZE);
		const entry = vector * PCI_MSIX_ENTRY_SIZE;
		// Bits of Vector Control above the mask are reserved, those of the address below a dword are zero.
		store(this.#entries, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, this.#masked(vector) ? 1 : 0);
		const low = load(this.#entries, entry + PCI_MSIX_ENTRY_LOWER_ADDR, 4) & ~3;
		store(this.#entries, entry + PCI_MSIX_ENTRY_LOWER_ADDR, 4, low);
		const high = load(this.#entries, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 4);
		this.#addresses[vector] = (BigInt(high) << 32n) | BigInt(low >>> 0);
		this.#flush(vector);
	}

	/** @param offset bytes from the BAR's start, in the pending bits */
	readPba(offset: number, width: AccessWidth): number {
		return load(this.#pending, offset - this.pba.offset, width);
	}

	/** The entry's own mask bit is set. */
	masked(vector: number): boolean {
		return this.#masked(vector);
	}

	/** The entry waits to be unmasked. */
	pending(vector: number): boolean {
		return ((this.#pending[vector >>> 3] ?? 0) & (1 << (vector & 7))) !== 0;
	}

	/** The control register was written: takes it over and sends what is no longer masked. */
	changed(): void {
		const flags = load(this.#config, this.offset + PCI_MSIX_FLAGS, 2);
		this.enabled = (flags & PCI_MSIX_FLAGS_ENABLE) !== 0;
		this.#maskAll = (flags & PCI_MSIX_FLAGS_MASKALL) !== 0;
		// What was pending is reported by the pin from here on: a message later would be a second report.
		if (!this.enabled) this.#pending.fill(0);
		for (let byte = 0; byte < this.#pending.length; byte++)
			if (this.#pending[byte] !== 0) for (let bit = 0; bit < 8; bit++) this.#flush(byte * 8 + bit);
	}

	/** Sends message `vector`, or marks it pending while it is masked. A vector beyond the table is nothing. */
	signal(vector: number): void {
		if (vector < 0 || vector >= this.vectors) return;
		if (this.#maskAll || this.#masked(vector))
			this.#pending[vector >>> 3] = this.#pendingByte(vector) | this.#bit(vector);
		else this.#transmit(vector);
	}

	/** Every entry masked and empty, nothing pending. The control register is the function's to reset. */
	reset(): void {
		this.#entries.fill(0);
		this.#pending.fill(0);
		this.#addresses.fill(0n);
		for (let vector = 0; vector < this.vectors; vector++)
			this.#entries[vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}

	#masked(vector: number): boolean {
		const control = this.#entries[vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] ?? 1;
		return (control & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0;
	}

	#bit(vector: number): number {
		return 1 << (vector & 7);
	}

	#pendingByte(vector: number): number {
		return this.#pending[vector >>> 3] ?? 0;
	}

	#flush(vector: number): void {
		if (!this.pending(vector) || !this.enabled || this.#maskAll || this.#masked(vector)) return;
		this.#pending[vector >>> 3] = this.#pendingByte(vector) & ~this.#bit(vector);
		this.#transmit(vector);
	}

	#transmit(vector: number): void {
		const data = load(this.#entries, vector * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_DATA, 4);
		this.#send(this.#addresses[vector] as bigint, data);
	}
}
