/**
 * The interrupts of an mtty device: INTx and MSI, one of them at a time, with one vector.
 *
 * @module
 */
import { EINVAL, ENOTTY } from "../../../../core/uapi/errno.ts";
import {
	VFIO_IRQ_SET_ACTION_MASK,
	VFIO_IRQ_SET_ACTION_TRIGGER,
	VFIO_IRQ_SET_ACTION_UNMASK,
	VFIO_IRQ_SET_DATA_EVENTFD,
	VFIO_IRQ_SET_DATA_NONE,
	VFIO_PCI_INTX_IRQ_INDEX,
	VFIO_PCI_MSI_IRQ_INDEX,
} from "../../../../core/uapi/vfio.ts";
import type { EventFd } from "../../eventfd.ts";
import { eventAt, type IrqRequest, isSet } from "../../vfio/irq-request.ts";

/** What signals, and whether it may. */
export class MttyInterrupts {
	/** INTx or MSI, whichever has an eventfd. */
	#index: number | undefined;
	#event: EventFd | undefined;
	/** INTx was signalled, and the user has not said yet that he has dealt with it. */
	#masked = false;

	/** A port wants attention. Nothing remembers what comes while INTx is masked. */
	trigger(): void {
		if (this.#index === VFIO_PCI_INTX_IRQ_INDEX) {
			if (this.#masked) return;
			this.#masked = true;
		}
		this.#event?.signal();
	}

	/** VFIO_DEVICE_SET_IRQS. No action at all is no error. */
	set(request: IrqRequest): number {
		switch (request.index) {
			case VFIO_PCI_INTX_IRQ_INDEX:
				return this.#setIntx(request);
			case VFIO_PCI_MSI_IRQ_INDEX:
				if ((request.action & (VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK)) !== 0) return -ENOTTY;
				return request.action === VFIO_IRQ_SET_ACTION_TRIGGER ? this.#setTrigger(request) : 0;
			default:
				return -ENOTTY;
		}
	}

	/** Nobody is signalled any more. */
	close(): void {
		this.#event?.unreference();
		this.#event = undefined;
		this.#index = undefined;
		this.#masked = false;
	}

	#setIntx(request: IrqRequest): number {
		switch (request.action) {
			case VFIO_IRQ_SET_ACTION_TRIGGER:
				return this.#setTrigger(request);
			case VFIO_IRQ_SET_ACTION_MASK:
				return this.#mask(request, true);
			case VFIO_IRQ_SET_ACTION_UNMASK:
				return this.#mask(request, false);
			default:
				return 0;
		}
	}

	#mask(request: IrqRequest, masked: boolean): number {
		if (this.#index !== VFIO_PCI_INTX_IRQ_INDEX || request.start !== 0 || request.count !== 1) return -EINVAL;
		if (request.data === VFIO_IRQ_SET_DATA_EVENTFD) return -ENOTTY;
		if (isSet(request, 0)) this.#masked = masked;
		return 0;
	}

	#setTrigger(request: IrqRequest): number {
		const active = this.#index === request.index;
		if (active && request.count === 0 && request.data === VFIO_IRQ_SET_DATA_NONE) {
			this.close();
			return 0;
		}
		if (!(active || this.#index === undefined) || request.start !== 0 || request.count !== 1) return -EINVAL;
		if (request.data === VFIO_IRQ_SET_DATA_EVENTFD) {
			// The old eventfd goes first, whatever becomes of the new one.
			this.close();
			const event = eventAt(request, 0);
			if (typeof event === "number") return event;
			this.#event = event;
			if (event) this.#index = request.index;
			return 0;
		}
		if (!active) return -EINVAL;
		if (isSet(request, 0)) this.trigger();
		return 0;
	}
}
