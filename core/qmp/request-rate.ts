/** How many requests there were in the last second. */
export class RequestRate {
	readonly #limit: number;
	/** When the last ones came, oldest first; no more than the limit. */
	readonly #times: number[] = [];

	constructor(limit: number) {
		this.#limit = limit;
	}

	/** Whether one more is taken. @param time microseconds, never less than before */
	admit(time: number): boolean {
		const oldest = this.#times[0];
		if (oldest !== undefined && this.#times.length >= this.#limit) {
			if (time - oldest < 1_000_000) return false;
			this.#times.shift();
		}
		this.#times.push(time);
		return true;
	}
}
