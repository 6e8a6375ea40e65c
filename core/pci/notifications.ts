/**
 * The two interrupts that are the kernel's own: it wants the device back (REQ), or the device reported an error (ERR).
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import { Trigger } from "../device/trigger.ts";
import type { VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from "../uapi/vfio.ts";
import type { AssignableDevice } from "./hardware.ts";

/** Listens to one of them. A kernel or device that does not have it is listened to in vain. */
export class Notification implements Disposable {
	readonly #device: AssignableDevice;
	readonly #index: number;
	readonly #report: (message: string) => void;
	#trigger: Trigger | undefined;

	/** @param onSignal receives how often it was signalled since the last call */
	constructor(
		device: AssignableDevice,
		index: typeof VFIO_PCI_ERR_IRQ_INDEX | typeof VFIO_PCI_REQ_IRQ_INDEX,
		onSignal: (count: number) => void,
		report: (message: string) => void,
	) {
		this.#device = device;
		this.#index = index;
		this.#report = report;
		if (device.irq(index).count === 0) return;
		attempt({ report }, () => {
			const trigger = new Trigger(device, onSignal);
			try {
				device.setEventfd(index, 0, trigger.fd);
				this.#trigger = trigger;
			} catch (error) {
				trigger[Symbol.dispose]();
				throw error;
			}
		});
	}

	[Symbol.dispose](): void {
		const trigger = this.#trigger;
		if (!trigger) return;
		this.#trigger = undefined;
		attempt({ report: this.#report }, () => this.#device.disableIrq(this.#index));
		trigger[Symbol.dispose]();
	}
}
