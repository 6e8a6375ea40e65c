/**
 * Which interrupt line a pin of bus 0 is: the wiring that a q35's south bridge has after reset.
 *
 * @module
 */
import { WiredOr } from "../../core/machine/intx.ts";

/** Inputs of the I/O interrupt controller. */
const LINES = 24;
/** The first of the four lines that slots are wired to: PIRQE. */
const FIRST_LINE = 20;

/** The lines. */
export class InterruptLines {
	readonly #lines = new WiredOr(LINES);
	readonly #onChange: (line: number, asserted: boolean) => void;

	/** @param onChange learns of each change of a line's level */
	constructor(onChange: (line: number, asserted: boolean) => void) {
		this.#onChange = onChange;
	}

	/** The line that a pin is wired to. @param device on bus 0 @param pin 1 (INTA) to 4 (INTD) */
	static lineOf(device: number, pin: number): number {
		return FIRST_LINE + ((device + pin - 1) & 3);
	}

	/** A pin changed its level. */
	pin(device: number, pin: number, asserted: boolean): void {
		const line = InterruptLines.lineOf(device, pin);
		const changed = asserted ? this.#lines.assert(line) : this.#lines.release(line);
		if (changed) this.#onChange(line, asserted);
	}
}
