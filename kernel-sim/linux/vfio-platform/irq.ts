/**
 * One interrupt of a platform device for user space (contract B.9). A level is turned into one signal and then masked; an
 * edge is a signal each time.
 *
 * @module
 */
import { EBUSY } from "../../../core/uapi/errno.ts";
import { VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE } from "../../../core/uapi/vfio.ts";
import type { PlatformHardware } from "../../hardware/platform/hardware.ts";
import type { EventFd } from "../eventfd.ts";
import { EventHook } from "../vfio/event-hook.ts";
import type { InterruptNumbers } from "./interrupt-numbers.ts";

/** An interrupt of an open device. */
export class PlatformIrq {
	/** Why request_irq failed when the device was opened: every request for the interrupt answers so. */
	readonly failure: number;
	/** It interrupts as long as the line is up, so it is masked each time. */
	readonly automasked: boolean;
	/** Eventfds that mask and unmask. */
	readonly maskEvent = new EventHook(() => this.mask());
	readonly unmaskEvent = new EventHook(() => this.unmask());
	readonly #hardware: PlatformHardware;
	readonly #index: number;
	readonly #numbers: InterruptNumbers;
	readonly #line: Disposable;
	#trigger: EventFd | undefined;
	#masked = false;
	/** An edge that came while the interrupt could not be delivered: the controller has latched it. */
	#latched = false;
	/** How often it was handled. */
	count = 0;

	constructor(hardware: PlatformHardware, index: number, numbers: InterruptNumbers) {
		this.#hardware = hardware;
		this.#index = index;
		this.#numbers = numbers;
		this.automasked = hardware.description.interrupts[index]?.trigger === "level";
		this.failure = numbers.request(this.number, this) ? 0 : -EBUSY;
		this.#line = hardware.onLine(index, (asserted) => {
			if (asserted) this.#raised();
		});
	}

	/** Its number at the interrupt controller. */
	get number(): number {
		return this.#hardware.description.interrupts[this.#index]?.number ?? 0;
	}

	/** `vfio_irq_info.flags`. */
	get flags(): number {
		const level = VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
		return VFIO_IRQ_INFO_EVENTFD | (this.automasked ? level : 0);
	}

	/** Another eventfd, whose reference is taken over, or none: the interrupt is off then. The mask stays. */
	setTrigger(trigger: EventFd | undefined): void {
		this.#trigger?.unreference();
		this.#trigger = trigger;
		if (trigger) this.#deliver();
	}

	mask(): void {
		this.#masked = true;
	}

	/** A level that is still up, or an edge that came meanwhile, is signalled at once. */
	unmask(): void {
		if (!this.#masked) return;
		this.#masked = false;
		this.#deliver();
	}

	/** What an interrupt does, without one. */
	handle(): void {
		if (this.automasked) {
			if (this.#masked) return;
			this.#masked = true;
		}
		this.count++;
		this.#trigger?.signal();
	}

	close(): void {
		this.maskEvent.remove();
		this.unmaskEvent.remove();
		this.setTrigger(undefined);
		this.#line[Symbol.dispose]();
		this.#numbers.free(this.number, this);
	}

	/** The line is off without a trigger, and while it is masked: request_irq does not switch it on. */
	get #enabled(): boolean {
		return this.failure === 0 && this.#trigger !== undefined && !this.#masked;
	}

	#raised(): void {
		if (!this.automasked) this.#latched = true;
		this.#deliver();
	}

	#deliver(): void {
		const pending = this.automasked ? this.#hardware.lineAsserted(this.#index) : this.#latched;
		if (!pending || !this.#enabled) return;
		this.#latched = false;
		this.handle();
	}
}
