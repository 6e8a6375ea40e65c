/**
 * Asynchronous events, NVM Express 1.4 section 5.2: requests that are held until there is something to tell.
 *
 * @module
 */
import { ABORT_REQUESTED, ASYNC_EVENT_LIMIT_EXCEEDED, SUCCESS } from "./status.ts";

/** Event types. */
export const ERROR_EVENT = 0;
export const HEALTH_EVENT = 1;
/** Information of an {@link ERROR_EVENT}. */
export const INVALID_DOORBELL = 0;
export const INVALID_DOORBELL_VALUE = 1;
/** Information of a {@link HEALTH_EVENT}. */
export const TEMPERATURE_THRESHOLD = 1;

/** How many requests may be held. */
export const EVENT_REQUESTS = 4;

/** A held request that is done: with an event, or aborted. */
export interface EventDelivery {
	readonly commandId: number;
	/** A status of `status.ts`. */
	readonly status: number;
	readonly result: number;
}

/** Held requests and waiting events: at most one event of a type waits, so a hostile guest cannot pile them up. */
export class AsyncEvents {
	#held: number[] = [];
	/** Requests that were aborted and wait for room in the completion queue. */
	#aborted: number[] = [];
	/** Waiting events by type: dword 0 of their completion. */
	readonly #waiting = new Map<number, number>();
	/** Types that were told and whose log page the host has not read yet, by log page. */
	readonly #masked = new Map<number, number>();

	/** Keeps an Asynchronous Event Request. @returns a status when there are too many, undefined when it is held */
	hold(commandId: number): number | undefined {
		if (this.#held.length + this.#aborted.length >= EVENT_REQUESTS) return ASYNC_EVENT_LIMIT_EXCEEDED;
		this.#held.push(commandId);
		return undefined;
	}

	/** Something happened. @param logPage where the host reads more */
	raise(type: number, information: number, logPage: number): void {
		if ([...this.#masked.values()].includes(type)) return;
		this.#waiting.set(type, type | (information << 8) | (logPage << 16));
	}

	/** The next request that is done. The type of its event stays silent until {@link acknowledge}. */
	next(): EventDelivery | undefined {
		const aborted = this.#aborted.shift();
		if (aborted !== undefined) return { commandId: aborted, status: ABORT_REQUESTED, result: 0 };
		if (this.#waiting.size === 0) return undefined;
		const commandId = this.#held.shift();
		if (commandId === undefined) return undefined;
		for (const [type, result] of this.#waiting) {
			this.#waiting.delete(type);
			this.#masked.set(result >>> 16, type);
			return { commandId, status: SUCCESS, result };
		}
		return undefined;
	}

	/** The host has read the log page. */
	acknowledge(logPage: number): void {
		this.#masked.delete(logPage);
	}

	/** Gives up a held request: {@link next} will bring it. @returns false when it is not held */
	abort(commandId: number): boolean {
		const at = this.#held.indexOf(commandId);
		if (at < 0) return false;
		this.#aborted.push(...this.#held.splice(at, 1));
		return true;
	}

	clear(): void {
		this.#held = [];
		this.#aborted = [];
		this.#waiting.clear();
		this.#masked.clear();
	}
}
