/**
 * `VFIO_DEVICE_SET_IRQS`: which eventfd an interrupt signals, masking and unmasking.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { ATTEMPTS, isErrno } from "../retry.ts";
import { EBUSY, EINTR, ENOSPC } from "../uapi/errno.ts";
import {
	VFIO_DEVICE_SET_IRQS,
	VFIO_IRQ_SET_ACTION_MASK,
	VFIO_IRQ_SET_ACTION_TRIGGER,
	VFIO_IRQ_SET_ACTION_UNMASK,
	VFIO_IRQ_SET_DATA_EVENTFD,
	VFIO_IRQ_SET_DATA_NONE,
	VFIO_PCI_INTX_IRQ_INDEX,
	vfio_irq_set,
} from "../uapi/vfio.ts";
import { irqName } from "./irq.ts";
import type { NamedDevice } from "./kind.ts";

/** Says "no eventfd" in a list of eventfds: that vector is switched off. */
export const NO_EVENTFD = -1;

/** Sets up a device's interrupts, from buffers that are made once. */
export class IrqSetup {
	readonly #kernel: Kernel;
	readonly #fd: number;
	readonly #device: NamedDevice;
	#set = vfio_irq_set.create(4);
	#fds = new DataView(this.#set.bytes.buffer, vfio_irq_set.size);

	constructor(kernel: Kernel, fd: number, device: NamedDevice) {
		this.#kernel = kernel;
		this.#fd = fd;
		this.#device = device;
	}

	/** @returns 0, or how many vectors the host can give when that is fewer. @throws VfioError `interrupt-failed` */
	eventfds(action: "trigger" | "unmask", index: number, start: number, fds: readonly number[]): number {
		this.#reserve(fds.length);
		for (let n = 0; n < fds.length; n++) this.#fds.setInt32(n * 4, fds[n] as number, true);
		const bits = action === "trigger" ? VFIO_IRQ_SET_ACTION_TRIGGER : VFIO_IRQ_SET_ACTION_UNMASK;
		return this.#ioctl(VFIO_IRQ_SET_DATA_EVENTFD | bits, index, start, fds.length);
	}

	/** One vector's eventfd; it allocates nothing. @throws VfioError `interrupt-failed` */
	eventfd(index: number, vector: number, fd: number): number {
		this.#fds.setInt32(0, fd, true);
		return this.#ioctl(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, vector, 1);
	}

	/** Switches all vectors of an index off. @throws VfioError `interrupt-failed` */
	disable(index: number): void {
		this.#ioctl(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, 0);
	}

	/** Makes a vector fire, as if the device had. @throws VfioError `interrupt-failed` */
	trigger(index: number, vector: number): void {
		this.#ioctl(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, index, vector, 1);
	}

	/** @throws VfioError `interrupt-failed` */
	mask(index: number): void {
		this.#ioctl(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, index, 0, 1);
	}

	/** @throws VfioError `interrupt-failed` */
	unmask(index: number): void {
		this.#ioctl(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, index, 0, 1);
	}

	#reserve(count: number): void {
		if (this.#set.bytes.length >= vfio_irq_set.size + count * 4) return;
		this.#set = vfio_irq_set.create(count * 4);
		this.#fds = new DataView(this.#set.bytes.buffer, vfio_irq_set.size);
	}

	#ioctl(flags: number, index: number, start: number, count: number): number {
		const set = this.#set;
		set.argsz = set.bytes.length;
		set.flags = flags;
		set.index = index;
		set.start = start;
		set.count = count;
		// A loop rather than retry(): INTx is unmasked once for each interrupt, and a closure is an allocation.
		for (let attempt = 1; ; attempt++) {
			try {
				return this.#kernel.ioctl(this.#fd, VFIO_DEVICE_SET_IRQS, set.bytes);
			} catch (cause) {
				if (attempt < ATTEMPTS && isErrno(cause, EINTR)) continue;
				throw this.#explain(index, cause);
			}
		}
	}

	#explain(index: number, cause: unknown): VfioError {
		const { name, kind } = this.#device;
		const { reason, remedy } = reasonOf(kind === "pci" && index === VFIO_PCI_INTX_IRQ_INDEX, cause);
		const message = `Cannot set up ${irqName(index, kind)} of ${name}: ${reason}`;
		return new VfioError("interrupt-failed", message, { device: name, cause, remedy });
	}
}

/** What two errnos mean here that are no defect of whoever asks. */
function reasonOf(intx: boolean, cause: unknown): { readonly reason: string; readonly remedy: readonly string[] } {
	const said = (cause as Error).message;
	if (intx && isErrno(cause, EBUSY))
		return {
			reason: `another device uses its interrupt line, which it cannot share, since it has no interrupt disable bit (${said})`,
			remedy: [
				"cat /proc/interrupts shows who is on the line: take that device from its driver, or move one of the two to another slot.",
				"A device that has MSI works without INTx: assign it with intx=off.",
			],
		};
	if (isErrno(cause, ENOSPC))
		return {
			reason: `the host has no interrupt vectors left (${said})`,
			remedy: [
				"cat /proc/interrupts shows who has them.",
				"Interrupt remapping, or x2APIC in the firmware setup, makes more of them.",
			],
		};
	return { reason: said, remedy: [] };
}
