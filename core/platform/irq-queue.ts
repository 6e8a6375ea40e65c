/**
 * Which of a device's interrupts is before the guest. An access to a region does not tell which interrupt it serves, so
 * that one at a time is shown, and the others wait in the order they came.
 *
 * @module
 */

/** What an interrupt is doing. */
export type IrqState = "inactive" | "pending" | "active";

const NONE = -1;

/**
 * One active interrupt, and those that wait.
 *
 * @example
 * ```ts
 * const queue = new IrqQueue();
 * queue.arrive(2); // true: show it
 * queue.arrive(0); // false: it waits
 * queue.end(); // 2 is over
 * queue.next(); // 0: show it
 * ```
 */
export class IrqQueue {
	#active = NONE;
	readonly #waiting: number[] = [];

	/** The one that the guest has; -1 when there is none. */
	get active(): number {
		return this.#active;
	}

	state(irq: number): IrqState {
		if (irq === this.#active) return "active";
		return this.#waiting.includes(irq) ? "pending" : "inactive";
	}

	/**
	 * An interrupt has come. One that waits already, waits once; an edge that comes while the guest has the one before is
	 * shown again afterwards.
	 *
	 * @returns whether it is the active one from now on
	 */
	arrive(irq: number): boolean {
		if (this.#active === NONE) {
			this.#active = irq;
			return true;
		}
		if (!this.#waiting.includes(irq)) this.#waiting.push(irq);
		return false;
	}

	/** The guest has ended the active one. @returns which that was; -1 when there was none */
	end(): number {
		const ended = this.#active;
		this.#active = NONE;
		return ended;
	}

	/** The one that has waited longest becomes active, when none is. @returns which; -1 when none waits */
	next(): number {
		if (this.#active !== NONE) return NONE;
		this.#active = this.#waiting.shift() ?? NONE;
		return this.#active;
	}

	/** Takes one out. @returns whether it was there */
	remove(irq: number): boolean {
		const at = this.#waiting.indexOf(irq);
		if (at >= 0) this.#waiting.splice(at, 1);
		if (irq === this.#active) this.#active = NONE;
		else if (at < 0) return false;
		return true;
	}
}
