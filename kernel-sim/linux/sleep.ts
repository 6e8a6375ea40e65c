/**
 * A call that cannot return yet: its caller sleeps until something else happens.
 *
 * @module
 */

/** Returned by a call that must wait, such as the unbind of a device that is in use. */
export class Sleep {
	#result: number | undefined;
	#waiting: ((result: number) => void)[] = [];

	/** Whether {@link wake} has been called. */
	get awake(): boolean {
		return this.#result !== undefined;
	}

	/** The call returns. @param result 0 or more, or -errno */
	wake(result = 0): void {
		if (this.#result !== undefined) return;
		this.#result = result;
		const waiting = this.#waiting;
		this.#waiting = [];
		for (const callback of waiting) callback(result);
	}

	/** Calls back with the result, at once when the sleeper is awake already. */
	whenAwake(callback: (result: number) => void): void {
		if (this.#result !== undefined) callback(this.#result);
		else this.#waiting.push(callback);
	}
}

/** Goes on after a step that may sleep. @returns what the whole returns, or a sleep when any part of it sleeps */
export function andThen(step: number | Sleep, then: (result: number) => number | Sleep): number | Sleep {
	if (typeof step === "number") return then(step);
	const whole = new Sleep();
	step.whenAwake((result) => {
		const next = then(result);
		if (typeof next === "number") whole.wake(next);
		else next.whenAwake((last) => whole.wake(last));
	});
	return whole;
}
