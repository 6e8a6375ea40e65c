/**
 * MSI and MSI-X for user space: the kernel owns the messages, and each leads to an eventfd.
 *
 * @module
 */
import type { PciFunction } from "../../hardware/function.ts";
import type { InterruptController } from "../../hardware/interrupts.ts";
import type { EventFd } from "../eventfd.ts";

/** The vectors of one device, of one of the two kinds (contract E.3). */
export abstract class Messages {
	protected readonly fn: PciFunction;
	protected readonly controller: InterruptController;
	/** Each vector's eventfd. */
	protected readonly triggers: (EventFd | undefined)[] = [];
	/** How many messages of each vector have come since it was enabled. */
	readonly #delivered: number[] = [];
	#enabled = false;

	constructor(fn: PciFunction, controller: InterruptController) {
		this.fn = fn;
		this.controller = controller;
	}

	/** How many vectors the hardware has. */
	abstract readonly count: number;
	/** Vectors beyond the ones that were enabled can be added. */
	abstract readonly dynamic: boolean;

	get enabled(): boolean {
		return this.#enabled;
	}

	/** Linux's record of a vector that has an eventfd: what /proc/interrupts shows. */
	handler(vector: number): { readonly message: number; readonly count: number } | undefined {
		const message = this.messageOf(vector);
		if (!this.triggers[vector] || message === undefined) return undefined;
		return { message, count: this.#delivered[vector] ?? 0 };
	}

	/**
	 * Allocates vectors 0 to `count` - 1 and turns the capability on.
	 *
	 * @returns 0; or how many there are, when that is fewer: then nothing has happened; or -ENOSPC
	 */
	enable(count: number): number {
		const answer = this.allocate(count);
		if (answer !== 0) return answer;
		this.#enabled = true;
		// Linux shuts the pin here as well, and VFIO opens it at once: it puts COMMAND back as it was before.
		this.turnOn();
		return 0;
	}

	/** Turns the capability off and frees everything. */
	disable(): void {
		if (!this.#enabled) return;
		for (let vector = 0; vector < this.triggers.length; vector++) this.setTrigger(vector, undefined);
		this.triggers.length = 0;
		this.#delivered.length = 0;
		this.#enabled = false;
		this.turnOff();
	}

	/**
	 * Whether a vector can be given an eventfd, allocating it when it can be allocated late.
	 *
	 * @returns 0, or -EINVAL, or -ENOSPC
	 */
	abstract prepare(vector: number): number;

	/** Gives a vector another eventfd, whose reference is taken over; undefined silences it. */
	setTrigger(vector: number, trigger: EventFd | undefined): void {
		this.triggers[vector]?.unreference();
		this.triggers[vector] = trigger;
		this.program(vector);
	}

	/** A message has come. */
	protected deliver(vector: number): void {
		this.#delivered[vector] = (this.#delivered[vector] ?? 0) + 1;
		this.triggers[vector]?.signal();
	}

	/** Signals a vector's eventfd without a message; one without is skipped. */
	signal(vector: number): void {
		this.triggers[vector]?.signal();
	}

	/** Writes the messages into the hardware and lets it send them. */
	protected abstract turnOn(): void;
	protected abstract allocate(count: number): number;
	/** The place of a vector's message among all that are allocated; undefined while it has none. */
	protected abstract messageOf(vector: number): number | undefined;
	protected abstract program(vector: number): void;
	protected abstract turnOff(): void;
}
