/**
 * INTx for user space: a level is turned into one signal, then the line is held back until the user has dealt with it.
 *
 * @module
 */
import { PCI_STATUS, PCI_STATUS_INTERRUPT } from "../../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { InterruptController } from "../../hardware/interrupts.ts";
import type { EventFd } from "../eventfd.ts";
import { EventHook } from "../vfio/event-hook.ts";
import { allowIntx } from "./command.ts";

/** The INTx interrupt of an open device (contract E.2). */
export class Intx {
	/** The eventfd that unmasks. */
	readonly unmaskEvent = new EventHook(() => this.unmask());
	readonly #fn: PciFunction;
	readonly #controller: InterruptController;
	/** The device can be silenced by COMMAND; otherwise the line is masked at the interrupt controller. */
	readonly #atDevice: boolean;
	#line: Disposable | undefined;
	#masked = false;
	#suspended = false;
	#delivered = 0;
	#trigger: EventFd | undefined;

	constructor(fn: PciFunction, controller: InterruptController, atDevice: boolean) {
		this.#fn = fn;
		this.#controller = controller;
		this.#atDevice = atDevice;
	}

	get enabled(): boolean {
		return this.#line !== undefined;
	}

	/** How often it has interrupted since it was enabled. */
	get count(): number {
		return this.#delivered;
	}

	/**
	 * Starts listening to the line.
	 *
	 * @param trigger a reference that is taken over; undefined enables the interrupt all the same
	 * @param masked the virtual Interrupt Disable bit
	 */
	enable(trigger: EventFd | undefined, masked: boolean): void {
		this.#trigger = trigger;
		this.#masked = masked;
		this.#delivered = 0;
		this.#line = this.#controller.onIntx(this.#fn, (asserted) => {
			if (asserted) this.#interrupt();
		});
		if (this.#atDevice) allowIntx(this.#fn, !masked);
		if (this.#fn.intxAsserted) this.#interrupt();
	}

	/** Another eventfd, whose reference is taken over; the mask stays. */
	setTrigger(trigger: EventFd | undefined): void {
		this.#trigger?.unreference();
		this.#trigger = trigger;
	}

	disable(): void {
		this.unmaskEvent.remove();
		this.#line?.[Symbol.dispose]();
		this.#line = undefined;
		this.setTrigger(undefined);
		this.#masked = false;
	}

	/** Signals without an interrupt. */
	loopback(): void {
		this.#trigger?.signal();
	}

	mask(): void {
		if (this.#masked) return;
		this.#masked = true;
		if (this.#atDevice) allowIntx(this.#fn, false);
	}

	/** Lets the next interrupt through; one that is pending is signalled at once and stays masked. */
	unmask(): void {
		if (!this.#masked) return;
		if (this.#pending) {
			this.#trigger?.signal();
			return;
		}
		this.#masked = false;
		if (this.#atDevice) allowIntx(this.#fn, true);
	}

	/** The device goes to sleep: it must not raise its line. */
	suspend(): void {
		if (!this.enabled || this.#masked) return;
		this.#suspended = true;
		this.mask();
	}

	resume(): void {
		if (!this.#suspended) return;
		this.#suspended = false;
		this.unmask();
	}

	/** Whether the device wants something, masked or not. */
	get #pending(): boolean {
		if (!this.#atDevice) return this.#fn.intxAsserted;
		return (this.#fn.configRead(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT) !== 0 && this.#fn.present;
	}

	#interrupt(): void {
		if (this.#masked) return;
		this.#delivered++;
		this.mask();
		this.#trigger?.signal();
	}
}
