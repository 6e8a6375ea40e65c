/**
 * The clock of the process.
 *
 * @module
 */
import { performance } from "node:perf_hooks";
import { clearTimeout, setTimeout } from "node:timers";
import type { Clock } from "../core/kernel.ts";

const NANOSECONDS = 1e6;
/** What setTimeout takes at most, in milliseconds: a longer delay would fire at once. */
const LONGEST = 2 ** 31 - 1;

/** Monotonic time from the start of this thread, and timers that are never early. */
export class LinuxClock implements Clock {
	/** @inheritdoc */
	now(): number {
		return Math.round(performance.now() * NANOSECONDS);
	}

	/** Keeps the process alive until it has fired or is disposed. @inheritdoc */
	timer(delay: number, onExpiry: () => void): Disposable {
		const deadline = this.now() + delay;
		let pending: NodeJS.Timeout;
		const wait = () => {
			pending = setTimeout(tick, Math.min(Math.ceil((deadline - this.now()) / NANOSECONDS), LONGEST));
		};
		// setTimeout rounds to its own idea of now and may be early by a millisecond.
		const tick = () => (this.now() < deadline ? wait() : onExpiry());
		wait();
		return { [Symbol.dispose]: () => clearTimeout(pending) };
	}
}
