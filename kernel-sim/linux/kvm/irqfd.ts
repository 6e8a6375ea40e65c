/**
 * KVM_IRQFD: eventfds that KVM takes for interrupts.
 *
 * @module
 */
import { EBADF, EBUSY, EFAULT, EINVAL } from "../../../core/uapi/errno.ts";
import { KVM_IRQFD_FLAG_DEASSIGN, KVM_IRQFD_FLAG_RESAMPLE, kvm_irqfd } from "../../../core/uapi/kvm.ts";
import { type EventConsumer, EventFd } from "../eventfd.ts";
import type { IoctlArgument } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { InterruptController } from "./interrupt-controller.ts";

/** What irqfds need of their machine. */
export interface IrqFdHost {
	/** Undefined while there is no interrupt controller in the kernel. */
	readonly controller: InterruptController | undefined;
	/** Whether an eventfd is an irqfd already, of this machine or, in newer kernels, of any. */
	taken(event: EventFd): boolean;
}

/** The irqfds of one machine. */
export class IrqFds {
	readonly #host: IrqFdHost;
	readonly #entries = new Set<IrqFd>();

	constructor(host: IrqFdHost) {
		this.#host = host;
	}

	has(event: EventFd): boolean {
		for (const entry of this.#entries) if (entry.event === event) return true;
		return false;
	}

	/** @returns 0 or a negative errno */
	set(process: SimProcess, argument: IoctlArgument): number {
		const bytes = argument.read(kvm_irqfd.size);
		if (!bytes) return -EFAULT;
		const request = kvm_irqfd.view(bytes);
		if ((request.flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE)) !== 0) return -EINVAL;
		const { gsi, flags } = request;
		// Descriptors are int in the kernel, whatever the header says.
		const [fd, resampleFd] = [request.fd | 0, request.resamplefd | 0];
		if (flags & KVM_IRQFD_FLAG_DEASSIGN) return this.#deassign(process, fd, gsi);
		return this.#assign(process, fd, gsi, flags & KVM_IRQFD_FLAG_RESAMPLE ? resampleFd : undefined);
	}

	/** A guest has ended the interrupt of a GSI. All that resample it lower it together; then the devices are asked. */
	endOfInterrupt(gsi: number): void {
		const resampled = [...this.#entries].filter((entry) => entry.gsi === gsi && entry.resample);
		if (resampled.length === 0) return;
		this.#host.controller?.set(gsi, "resampler", false);
		for (const entry of resampled) entry.resample?.signal();
	}

	/** The file of the machine is closed. */
	close(): void {
		for (const entry of [...this.#entries]) this.#drop(entry);
	}

	#assign(process: SimProcess, fd: number, gsi: number, resampleFd: number | undefined): number {
		const { controller } = this.#host;
		if (!controller) return -EINVAL;
		if (!process.file(fd)) return -EBADF;
		const event = EventFd.fromFd(process, fd);
		if (typeof event === "number") return event;
		const resample = resampleFd === undefined ? undefined : EventFd.fromFd(process, resampleFd);
		if (typeof resample === "number") {
			event.unreference();
			return resample;
		}
		if (this.#host.taken(event)) {
			event.unreference();
			resample?.unreference();
			return -EBUSY;
		}
		const entry = new IrqFd(event, gsi, resample, controller, () => this.#drop(entry));
		this.#entries.add(entry);
		entry.start();
		return 0;
	}

	#deassign(process: SimProcess, fd: number, gsi: number): number {
		const event = EventFd.fromFd(process, fd);
		if (typeof event === "number") return event;
		for (const entry of [...this.#entries]) if (entry.event === event && entry.gsi === gsi) this.#drop(entry);
		event.unreference();
		return 0;
	}

	#drop(entry: IrqFd): void {
		if (!this.#entries.delete(entry)) return;
		entry.stop();
		const { gsi, resample } = entry;
		// With the last one that resamples a GSI nobody is left who would lower it.
		if (resample && ![...this.#entries].some((other) => other.gsi === gsi && other.resample))
			this.#host.controller?.set(gsi, "resampler", false);
	}
}

/** One irqfd: it takes the count of its eventfd before anybody else can. */
class IrqFd implements EventConsumer {
	readonly event: EventFd;
	readonly gsi: number;
	/** Signalled when the guest ends the interrupt. */
	readonly resample: EventFd | undefined;
	/** User space has closed the eventfd. */
	readonly closed: () => void;
	readonly #controller: InterruptController;
	#consumer: Disposable | undefined;

	constructor(
		event: EventFd,
		gsi: number,
		resample: EventFd | undefined,
		controller: InterruptController,
		closed: () => void,
	) {
		this.event = event;
		this.gsi = gsi;
		this.resample = resample;
		this.#controller = controller;
		this.closed = closed;
	}

	/** What was signalled before counts. */
	start(): void {
		this.#consumer = this.event.consume(this);
	}

	signalled(): void {
		if (this.resample) this.#controller.set(this.gsi, "resampler", true);
		else this.#controller.pulse(this.gsi);
	}

	stop(): void {
		this.#consumer?.[Symbol.dispose]();
		this.#consumer = undefined;
		this.event.unreference();
		this.resample?.unreference();
	}
}
