/**
 * Time of the simulation: it stands still until somebody advances it.
 *
 * @module
 */
import type { Clock } from "../core/kernel.ts";

/** A clock that the simulation can drain and move. */
export interface SimClock extends Clock {
	/** Runs everything that is due now. */
	settle(): void;
	/** Lets time pass. @param duration nanoseconds */
	advance(duration: number): void;
	/** How many timers have neither expired nor been cancelled. */
	readonly pending: number;
}

class Timer implements Disposable {
	readonly due: number;
	/** Timers that are due at the same time expire in the order they were set. */
	readonly order: number;
	onExpiry: (() => void) | undefined;
	readonly #clock: { cancelled(): void };

	constructor(due: number, order: number, onExpiry: () => void, clock: { cancelled(): void }) {
		this.due = due;
		this.order = order;
		this.onExpiry = onExpiry;
		this.#clock = clock;
	}

	[Symbol.dispose](): void {
		if (!this.onExpiry) return;
		this.onExpiry = undefined;
		this.#clock.cancelled();
	}
}

/** A binary heap, the timer that expires next on top. */
class TimerQueue {
	readonly #heap: Timer[] = [];

	get top(): Timer | undefined {
		return this.#heap[0];
	}

	push(timer: Timer): void {
		const heap = this.#heap;
		let at = heap.length;
		while (at > 0) {
			const parent = heap[(at - 1) >> 1] as Timer;
			if (before(parent, timer)) break;
			heap[at] = parent;
			at = (at - 1) >> 1;
		}
		heap[at] = timer;
	}

	pop(): void {
		const heap = this.#heap;
		const last = heap.pop();
		if (!last || heap.length === 0) return;
		let at = 0;
		for (let child = 1; child < heap.length; child = 2 * at + 1) {
			const right = heap[child + 1];
			if (right && before(right, heap[child] as Timer)) child++;
			const next = heap[child] as Timer;
			if (before(last, next)) break;
			heap[at] = next;
			at = child;
		}
		heap[at] = last;
	}
}

function before(a: Timer, b: Timer): boolean {
	return a.due < b.due || (a.due === b.due && a.order < b.order);
}

/**
 * Virtual time in nanoseconds. What is due now runs by itself in a microtask, or in {@link settle}; what is due later
 * waits for {@link advance}. The order is always the same: by time, then by age.
 *
 * @example
 * ```ts
 * const clock = new VirtualClock();
 * clock.timer(1_000_000, () => console.log("a millisecond is over"));
 * clock.advance(1_000_000);
 * ```
 */
export class VirtualClock implements SimClock {
	readonly #queue = new TimerQueue();
	#now: number;
	#order = 0;
	#pending = 0;
	#running = false;
	#woken = false;

	/** @param start what {@link now} begins with, nanoseconds */
	constructor(start = 0) {
		this.#now = start;
	}

	now(): number {
		return this.#now;
	}

	get pending(): number {
		return this.#pending;
	}

	/** When the next timer expires, nanoseconds; undefined when there is none. */
	get nextDue(): number | undefined {
		return this.#top()?.due;
	}

	timer(delay: number, onExpiry: () => void): Disposable {
		const timer = new Timer(this.#now + Math.max(0, delay), this.#order++, onExpiry, this);
		this.#queue.push(timer);
		this.#pending++;
		this.scheduled(timer.due);
		return timer;
	}

	/**
	 * Lets time pass, and everything that becomes due on the way happen at its own time.
	 *
	 * @param duration nanoseconds
	 * @throws what callbacks threw, after all of them have run: the error, or an AggregateError when there were several
	 */
	advance(duration: number): void {
		if (this.#running) throw new RangeError("Cannot advance the clock from inside one of its callbacks");
		this.#run(this.#now + Math.max(0, duration));
	}

	/**
	 * Runs everything that is due now, and what becomes due now by that. From inside a callback it does nothing: whoever
	 * runs the callback goes on anyway.
	 *
	 * @throws what callbacks threw, after all of them have run
	 */
	settle(): void {
		if (!this.#running) this.#run(this.#now);
	}

	/** @internal a timer was cancelled */
	cancelled(): void {
		this.#pending--;
	}

	/** A timer was set: a clock that follows real time sets its alarm here. @param due nanoseconds */
	protected scheduled(due: number): void {
		if (due > this.#now || this.#running || this.#woken) return;
		this.#woken = true;
		Promise.resolve().then(() => {
			this.#woken = false;
			this.settle();
		});
	}

	#run(until: number): void {
		const errors: unknown[] = [];
		this.#running = true;
		for (let timer = this.#top(); timer && timer.due <= until; timer = this.#top()) {
			this.#queue.pop();
			this.#pending--;
			if (timer.due > this.#now) this.#now = timer.due;
			const onExpiry = timer.onExpiry as () => void;
			timer.onExpiry = undefined;
			try {
				onExpiry();
			} catch (error) {
				errors.push(error);
			}
		}
		this.#now = until;
		this.#running = false;
		if (errors.length === 1) throw errors[0];
		if (errors.length > 1) throw new AggregateError(errors, `${errors.length} timer callbacks failed`);
	}

	/** The timer that expires next, cancelled ones dropped. */
	#top(): Timer | undefined {
		for (let top = this.#queue.top; top; top = this.#queue.top) {
			if (top.onExpiry) return top;
			this.#queue.pop();
		}
		return undefined;
	}
}
