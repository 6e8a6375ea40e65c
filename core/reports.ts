/**
 * Reports about a device: a guest can provoke them as fast as it runs, so that they are counted instead of passed on once
 * there are too many.
 *
 * @module
 */
import type { Clock } from "./kernel.ts";

/** How many reports may come in one {@link WINDOW}. */
const BURST = 32;
/** Nanoseconds. */
const WINDOW = 1_000_000_000;

/** Passes reports on, at most 32 in a second. */
export class Reports {
	readonly #name: string;
	readonly #clock: Clock;
	readonly #listener: (message: string) => void;
	#windowStart = 0;
	#inWindow = 0;
	#suppressed = 0;

	/** @param name the device's, put before messages that do not have it */
	constructor(name: string, clock: Clock, listener: (message: string) => void) {
		this.#name = name;
		this.#clock = clock;
		this.#listener = listener;
	}

	/** Passes a message on, or counts it. */
	add(message: string): void {
		const now = this.#clock.now();
		if (now - this.#windowStart >= WINDOW) {
			this.#windowStart = now;
			this.#inWindow = 0;
			if (this.#suppressed > 0) this.#listener(`${this.#name}: ${this.#suppressed} more reports were suppressed`);
			this.#suppressed = 0;
		}
		if (this.#inWindow >= BURST) {
			this.#suppressed++;
			return;
		}
		this.#inWindow++;
		this.#listener(message.includes(this.#name) ? message : `${this.#name}: ${message}`);
	}
}
