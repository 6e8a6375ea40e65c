/**
 * An eventfd that does something in the kernel each time it is signalled (`vfio_virqfd`).
 *
 * @module
 */
import { EBUSY } from "../../../core/uapi/errno.ts";
import type { EventConsumer, EventFd } from "../eventfd.ts";

/** At most one eventfd at a time, and what it does. */
export class EventHook implements EventConsumer {
	readonly #action: () => void;
	#event: EventFd | undefined;
	#consumer: Disposable | undefined;

	constructor(action: () => void) {
		this.#action = action;
	}

	/** @param event a reference that is taken over, also when it fails @returns 0, or -EBUSY when there is one */
	set(event: EventFd): number {
		if (this.#event) {
			event.unreference();
			return -EBUSY;
		}
		this.#event = event;
		this.#consumer = event.consume(this);
		return 0;
	}

	remove(): void {
		this.#consumer?.[Symbol.dispose]();
		this.#consumer = undefined;
		this.#event?.unreference();
		this.#event = undefined;
	}

	signalled(): void {
		this.#action();
	}

	/** The user has closed it. */
	closed(): void {
		this.remove();
	}
}
