/**
 * The extended interrupt causes EICR, EIMS, EIAC and EIAM, which the physical function and each virtual one have (82576
 * datasheet, sections 7.3.4 and 8.8).
 *
 * @module
 */

/** A set of vectors with causes, masks, and what happens by itself when one is sent. */
export class ExtendedInterrupts {
	/** EICR: vectors with something to say. */
	causes = 0;
	/** EIMS: vectors that may. */
	mask = 0;
	/** EIAC: vectors whose cause is cleared by sending the message. */
	autoClear = 0;
	/** EIAM: vectors that sending the message masks. */
	autoMask = 0;
	readonly #bits: number;
	readonly #send: (vector: number) => void;
	#announced = 0;
	#announcing = false;

	/** @param bits the vectors there are @param send sends the message of one */
	constructor(bits: number, send: (vector: number) => void) {
		this.#bits = bits;
		this.#send = send;
	}

	reset(): void {
		this.causes = 0;
		this.mask = 0;
		this.autoClear = 0;
		this.autoMask = 0;
		this.#announced = 0;
	}

	raise(bits: number): void {
		this.causes = (this.causes | (bits & this.#bits)) >>> 0;
	}

	clear(bits: number): void {
		this.causes = (this.causes & ~bits) >>> 0;
		this.#announced &= this.causes;
	}

	setMask(bits: number): void {
		this.mask = (this.mask | (bits & this.#bits)) >>> 0;
	}

	clearMask(bits: number): void {
		this.mask = (this.mask & ~bits) >>> 0;
		this.#announced &= this.mask;
	}

	/** Some vector may speak now. */
	get due(): number {
		return (this.causes & this.mask) >>> 0;
	}

	/** Sends the messages that are due and were not sent. @param autoMask EIAM counts */
	announce(autoMask: boolean): void {
		// A message may be aimed at our own registers, and would go round for ever.
		if (this.#announcing) return;
		this.#announcing = true;
		let fresh = this.due & ~this.#announced;
		this.#announced = this.due;
		for (; fresh !== 0; fresh &= fresh - 1) {
			const bit = fresh & -fresh;
			if ((this.autoClear & bit) !== 0) this.clear(bit);
			if (autoMask && (this.autoMask & bit) !== 0) this.clearMask(bit);
			this.#send(31 - Math.clz32(bit));
		}
		this.#announcing = false;
	}
}
