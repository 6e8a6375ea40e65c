/**
 * INTx: a level that the kernel masks each time it reports it. The guest's end of interrupt is not visible, so the next
 * access to any BAR is taken for it; to see that access, BARs must not be mapped into the guest meanwhile.
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import { Trigger } from "../device/trigger.ts";
import { VFIO_PCI_INTX_IRQ_INDEX } from "../uapi/vfio.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { InterruptHost } from "./interrupt-host.ts";
import { IntxBypass } from "./intx-bypass.ts";

const NANOSECONDS = 1_000_000;

/** The INTx of one function. */
export class Intx {
	readonly #device: AssignableDevice;
	readonly #host: InterruptHost;
	/** Nanoseconds; 0: BARs stay trapped after the first interrupt. */
	readonly #timeout: number;
	#trigger: Trigger | undefined;
	#timer: Disposable | undefined;
	/** When BARs may be mapped again, by the clock of the kernel. */
	#deadline = 0;
	#pending = false;
	#blocked = false;
	/** KVM delivers it: nothing of it is seen here, and BARs stay mapped. */
	#bypass: IntxBypass | undefined;

	/** @param timeout milliseconds without an interrupt after which BARs are mapped again; 0: never */
	constructor(device: AssignableDevice, host: InterruptHost, timeout: number) {
		this.#device = device;
		this.#host = host;
		this.#timeout = timeout * NANOSECONDS;
	}

	/** Between {@link enable} and {@link disable}. */
	get active(): boolean {
		return this.#trigger !== undefined;
	}

	/** The device has interrupted and the guest has not served it yet. */
	get pending(): boolean {
		return this.#pending;
	}

	/** What the pin of the slot must show. */
	get asserted(): boolean {
		return this.#pending && !this.#blocked;
	}

	/** KVM delivers it. */
	get bypassed(): boolean {
		return this.#bypass !== undefined;
	}

	/** Arms it; BARs stay mapped until the first interrupt. @throws VfioError `interrupt-failed`, with nothing left behind */
	enable(): void {
		if (this.#trigger) return;
		const trigger = new Trigger(this.#device, () => this.#signalled());
		try {
			this.#device.setEventfd(VFIO_PCI_INTX_IRQ_INDEX, 0, trigger.fd);
		} catch (error) {
			trigger[Symbol.dispose]();
			throw error;
		}
		this.#trigger = trigger;
		this.startBypass();
	}

	/**
	 * Lets KVM deliver it, where the machine has that; called again when its route has changed. Where KVM refuses, it goes on
	 * through this process. Either way it is unmasked at the end, so that none is lost.
	 */
	startBypass(): void {
		this.stopBypass();
		const kvm = this.#host.kvm("intx");
		const trigger = this.#trigger;
		if (!kvm || !trigger) return;
		this.#stopTimer();
		attempt(this.#host, () => {
			this.#bypass = IntxBypass.start(this.#device, kvm, this.#host.pin, trigger, () => this.#clear());
		});
		if (this.#bypass || !this.#pending) this.#host.setMapped(true);
	}

	/** Takes it back from KVM, if that has it. */
	stopBypass(): void {
		const bypass = this.#bypass;
		this.#bypass = undefined;
		if (bypass) attempt(this.#host, () => bypass.stop(true));
	}

	/** Disarms it, lowers the pin and lets BARs be mapped again. */
	disable(): void {
		const trigger = this.#trigger;
		if (!trigger) return;
		this.#trigger = undefined;
		this.#stopTimer();
		const bypass = this.#bypass;
		this.#bypass = undefined;
		if (bypass) attempt(this.#host, () => bypass.stop(false));
		attempt(this.#host, () => this.#device.disableIrq(VFIO_PCI_INTX_IRQ_INDEX));
		this.#clear();
		this.#host.setMapped(true);
		attempt(this.#host, () => trigger[Symbol.dispose]());
	}

	/**
	 * The guest has accessed a BAR that is not mapped: the end of the interrupt, if there is one. The device is unmasked
	 * last, as it may interrupt again at once.
	 */
	endOfInterrupt(): void {
		if (!this.#pending) return;
		this.#clear();
		// The machine has seen the pin fall, and may have taken the function out.
		if (this.#trigger) attempt(this.#host, () => this.#device.unmaskIrq(VFIO_PCI_INTX_IRQ_INDEX));
	}

	/** COMMAND's INTx disable: the pin falls silent, what is pending stays so. */
	setBlocked(blocked: boolean): void {
		if (blocked === this.#blocked) return;
		this.#blocked = blocked;
		if (this.#pending) this.#host.setPin(!blocked);
	}

	#clear(): void {
		if (!this.#pending) return;
		this.#pending = false;
		if (!this.#blocked) this.#host.setPin(false);
	}

	#signalled(): void {
		if (!this.#trigger) return;
		this.#host.setMapped(false);
		if (!this.#trigger) return;
		if (this.#timeout > 0) {
			this.#deadline = this.#device.kernel.clock.now() + this.#timeout;
			// One timer runs at a time and looks at the deadline when it expires; a stream of interrupts makes no others.
			this.#timer ??= this.#device.kernel.clock.timer(this.#timeout, () => this.#expired());
		}
		if (this.#pending) return;
		this.#pending = true;
		if (!this.#blocked) this.#host.setPin(true);
	}

	#expired(): void {
		this.#timer = undefined;
		if (!this.#trigger) return;
		const { clock } = this.#device.kernel;
		const rest = this.#pending ? this.#timeout : this.#deadline - clock.now();
		if (rest > 0) this.#timer = clock.timer(rest, () => this.#expired());
		else this.#host.setMapped(true);
	}

	#stopTimer(): void {
		this.#timer?.[Symbol.dispose]();
		this.#timer = undefined;
	}
}
