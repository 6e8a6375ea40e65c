/**
 * MSI and MSI-X for user space: the kernel owns the messages, and each leads to an eventfd.
 *
 * @module
 */
import type { PciFunction } from "../../hardware/function.ts";
import type { InterruptController } from "../../hardware/interrupts.ts";
import type { EventFd } from "../eventfd.ts";
import { allowIntx } from "./command.ts";

/** The vectors of one device, of one of the two kinds (contract E.3). */
export abstract class Messages {
	protected readonly fn: PciFunction;
	protected readonly controller: InterruptController;
	/** Each vector's eventfd. */
	protected readonly triggers: (EventFd | undefined)[] = [];
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

	/**
	 * Allocates vectors 0 to `count` - 1 and turns the capability on.
	 *
	 * @returns 0; or how many there are, when that is fewer: then nothing has happened; or -ENOSPC
	 */
	enable(count: number): number {
		const answer = this.allocate(count);
		if (answer !== 0) return answer;
		this.#enabled = true;
		// A function that sends messages must not use its pin (PCI 3.0, section 6.8.3.3): Linux shuts it as well.
		allowIntx(this.fn, false);
		this.turnOn();
		return 0;
	}

	/** Turns the capability off and frees everything. */
	disable(): void {
		if (!this.#enabled) return;
		for (let vector = 0; vector < this.triggers.length; vector++) this.setTrigger(vector, undefined);
		this.triggers.length = 0;
		this.#enabled = false;
		this.turnOff();
		allowIntx(this.fn, true);
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

	/** Signals a vector's eventfd without a message; one without is skipped. */
	signal(vector: number): void {
		this.triggers[vector]?.signal();
	}

	/** Writes the messages into the hardware and lets it send them. */
	protected abstract turnOn(): void;
	protected abstract allocate(count: number): number;
	protected abstract program(vector: number): void;
	protected abstract turnOff(): void;
}
