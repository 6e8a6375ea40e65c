/**
 * INTx without this process: KVM takes the device's eventfd for the pin, and signals another one at the guest's end of
 * interrupt, which VFIO takes for the unmask.
 *
 * @module
 */
import { NO_EVENTFD } from "../device/irq-setup.ts";
import type { Trigger } from "../device/trigger.ts";
import type { KvmBypass } from "../machine/kvm-bypass.ts";
import { Releases } from "../release.ts";
import { VFIO_PCI_INTX_IRQ_INDEX } from "../uapi/vfio.ts";
import type { AssignableDevice } from "./hardware.ts";

/** INTx in KVM's hands. */
export class IntxBypass {
	readonly #device: AssignableDevice;
	readonly #trigger: Trigger;
	readonly #connections: Releases;

	private constructor(device: AssignableDevice, trigger: Trigger, connections: Releases) {
		this.#device = device;
		this.#trigger = trigger;
		this.#connections = connections;
	}

	/**
	 * Hands INTx over. The interrupt is masked meanwhile, so that it comes neither twice nor to nobody.
	 *
	 * @param pin 1 to 4
	 * @param forget what was pending here is dropped: a line that is still asserted comes again
	 * @returns undefined when the pin leads nowhere
	 * @throws what the kernel or KVM refuses with; INTx is as before then, and unmasked
	 */
	static start(
		device: AssignableDevice,
		kvm: KvmBypass,
		pin: number,
		trigger: Trigger,
		forget: () => void,
	): IntxBypass | undefined {
		const { kernel } = device;
		const undo = new Releases();
		try {
			trigger.pause();
			undo.defer(() => device.unmaskIrq(VFIO_PCI_INTX_IRQ_INDEX));
			undo.defer(() => trigger.resume());
			device.maskIrq(VFIO_PCI_INTX_IRQ_INDEX);
			forget();
			const connections = undo.use(new Releases());
			const resample = kernel.eventfd();
			connections.defer(() => kernel.close(resample));
			const connection = kvm.connectIntx(pin, trigger.fd, resample);
			if (!connection) return undefined;
			connections.use(connection);
			device.setUnmaskEventfd(resample);
			connections.defer(() => device.setUnmaskEventfd(NO_EVENTFD));
			device.unmaskIrq(VFIO_PCI_INTX_IRQ_INDEX);
			undo.move();
			return new IntxBypass(device, trigger, connections);
		} finally {
			undo[Symbol.dispose]();
		}
	}

	/**
	 * Takes INTx back; every step is tried.
	 *
	 * @param goesOn it is delivered by this process from now on; otherwise it is about to be switched off
	 * @throws the first error
	 */
	stop(goesOn: boolean): void {
		const steps = new Releases();
		if (goesOn) {
			steps.defer(() => this.#device.unmaskIrq(VFIO_PCI_INTX_IRQ_INDEX));
			steps.defer(() => this.#trigger.resume());
		}
		steps.use(this.#connections);
		steps.defer(() => this.#device.maskIrq(VFIO_PCI_INTX_IRQ_INDEX));
		steps[Symbol.dispose]();
	}
}
