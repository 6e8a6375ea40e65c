/**
 * The MSI capability at work: the message, its per-vector mask and its pending bits.
 *
 * @module
 */
import {
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_DATA_32,
	PCI_MSI_DATA_64,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_64BIT,
	PCI_MSI_FLAGS_ENABLE,
	PCI_MSI_FLAGS_MASKBIT,
	PCI_MSI_FLAGS_QSIZE,
} from "../../core/uapi/pci_regs.ts";
import { clearBits, load, setBits } from "./little-endian.ts";

/** Sends a message: a memory write of `data`, four bytes, to `address`. */
export type SendMessage = (address: bigint, data: number) => void;

/** Bytes of an MSI capability with these flags (PCI Local Bus 3.0, section 6.8.1). */
export function msiLength(flags: number): number {
	return 10 + ((flags & PCI_MSI_FLAGS_64BIT) !== 0 ? 4 : 0) + ((flags & PCI_MSI_FLAGS_MASKBIT) !== 0 ? 10 : 0);
}

/** Sends by MSI. Its registers are in the function's configuration space; this keeps what they mean. */
export class MsiUnit {
	/** Where the capability is. */
	readonly offset: number;
	/** Bytes. */
	readonly length: number;
	enabled = false;
	readonly #config: Uint8Array;
	readonly #send: SendMessage;
	readonly #dataOffset: number;
	/** 0 when the function cannot mask single vectors. */
	readonly #maskOffset: number;
	#address = 0n;

	constructor(config: Uint8Array, offset: number, send: SendMessage) {
		const flags = load(config, offset + PCI_MSI_FLAGS, 2);
		this.#config = config;
		this.offset = offset;
		this.length = msiLength(flags);
		this.#send = send;
		const wide = (flags & PCI_MSI_FLAGS_64BIT) !== 0;
		this.#dataOffset = offset + (wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32);
		this.#maskOffset = (flags & PCI_MSI_FLAGS_MASKBIT) !== 0 ? this.#dataOffset + 4 : 0;
		this.changed();
	}

	/** The registers were written: takes them over and sends what is no longer masked. */
	changed(): void {
		const flags = load(this.#config, this.offset + PCI_MSI_FLAGS, 2);
		const low = BigInt(load(this.#config, this.offset + PCI_MSI_ADDRESS_LO, 4));
		const high = (flags & PCI_MSI_FLAGS_64BIT) !== 0 ? load(this.#config, this.offset + PCI_MSI_ADDRESS_HI, 4) : 0;
		this.#address = (BigInt(high) << 32n) | low;
		this.enabled = (flags & PCI_MSI_FLAGS_ENABLE) !== 0;
		if (this.#maskOffset === 0) return;
		const pendingOffset = this.#maskOffset + 4;
		let ready = load(this.#config, pendingOffset, 4) & ~load(this.#config, this.#maskOffset, 4);
		if (!this.enabled || ready === 0) return;
		clearBits(this.#config, pendingOffset, 4, ready);
		for (; ready !== 0; ready &= ready - 1) this.#transmit(31 - Math.clz32(ready & -ready));
	}

	/** Sends message `vector`, or marks it pending while it is masked. */
	signal(vector: number): void {
		const number = vector & (this.#messages - 1);
		const bit = 1 << number;
		if (this.#maskOffset !== 0 && (load(this.#config, this.#maskOffset, 4) & bit) !== 0)
			setBits(this.#config, this.#maskOffset + 4, 4, bit);
		else this.#transmit(number);
	}

	/** How many messages software has allowed: a function with more events shares them. */
	get #messages(): number {
		const exponent = (load(this.#config, this.offset + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_QSIZE) >>> 4;
		return 1 << Math.min(exponent, 5);
	}

	#transmit(vector: number): void {
		// The function puts the vector's number into the low bits of the data (PCI Local Bus 3.0, section 6.8.1.6).
		const data = load(this.#config, this.#dataOffset, 2);
		this.#send(this.#address, (data & ~(this.#messages - 1)) | vector);
	}
}
