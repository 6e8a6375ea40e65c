/**
 * INTx lines: wired-OR, and how pins are renamed on the way up.
 *
 * @module
 */

/** How many interrupt pins a function may have: INTA to INTD. */
export const PIN_COUNT = 4;

/**
 * What a bridge makes of a pin below it: adjacent devices get different pins, so that their interrupts spread (PCI-to-PCI
 * Bridge 1.2, section 9.1; for root ports PCI Express Base, section 2.2.8.1).
 *
 * @param pin 1 (INTA) to 4 (INTD)
 * @param device the device number on the bridge's secondary bus
 * @returns the pin on the bridge's primary side, 1 to 4
 */
export function swizzle(pin: number, device: number): number {
	return ((pin - 1 + device) & 3) + 1;
}

/** Lines that several sources pull: each is asserted for as long as any source asserts it. */
export class WiredOr {
	readonly #sources: Uint16Array;

	/** @param lines how many lines there are */
	constructor(lines: number) {
		this.#sources = new Uint16Array(lines);
	}

	/** One more source asserts the line. @returns whether the line's level changed */
	assert(line: number): boolean {
		const sources = (this.#sources[line] ?? 0) + 1;
		this.#sources[line] = sources;
		return sources === 1;
	}

	/** One source fewer asserts the line. @returns whether the line's level changed */
	release(line: number): boolean {
		const sources = this.#sources[line] ?? 0;
		if (sources === 0) return false;
		this.#sources[line] = sources - 1;
		return sources === 1;
	}

	/** The line's level. */
	asserted(line: number): boolean {
		return (this.#sources[line] ?? 0) > 0;
	}
}
