/**
 * The Vital Product Data capability at work: a small memory behind an address, a data register and a flag.
 *
 * @module
 */
import { clearBits, load, setBits, store } from "./little-endian.ts";

const ADDRESS = 2;
const DATA = 4;
/** Set by the writer of data, and by the device when data is there to read (PCI Local Bus 3.0, appendix I). */
const FLAG = 0x8000;

/** Answers at once: the flag has turned when the write returns. */
export class VpdUnit {
	/** Where the capability is. */
	readonly offset: number;
	readonly #config: Uint8Array;
	readonly #content: Uint8Array;

	constructor(config: Uint8Array, offset: number, content: Uint8Array) {
		this.#config = config;
		this.offset = offset;
		this.#content = content.slice();
	}

	/** The byte with the flag was written: does what it asks for. */
	written(): void {
		const register = load(this.#config, this.offset + ADDRESS, 2);
		const address = register & ~FLAG & ~3;
		if ((register & FLAG) === 0) {
			store(this.#config, this.offset + DATA, 4, load(this.#content, address, 4));
			setBits(this.#config, this.offset + ADDRESS, 2, FLAG);
			return;
		}
		if (address + 4 <= this.#content.length)
			store(this.#content, address, 4, load(this.#config, this.offset + DATA, 4));
		clearBits(this.#config, this.offset + ADDRESS, 2, FLAG);
	}
}
