/**
 * Who has which interrupt of the controller: vfio-platform does not share one.
 *
 * @module
 */

/** Interrupts by their number. */
export class InterruptNumbers {
	readonly #owners = new Map<number, object>();

	/** request_irq. @returns false when somebody has it */
	request(number: number, owner: object): boolean {
		if (this.#owners.has(number)) return false;
		this.#owners.set(number, owner);
		return true;
	}

	/** free_irq; of somebody else's, nothing. */
	free(number: number, owner: object): void {
		if (this.#owners.get(number) === owner) this.#owners.delete(number);
	}
}
