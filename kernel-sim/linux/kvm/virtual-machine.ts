/**
 * A virtual machine of the simulated KVM. It has no processors: a {@link KvmGuest} takes what would reach one, and does
 * what its programs would do.
 *
 * @module
 */
import type { EventFd } from "../eventfd.ts";
import type { SimProcess } from "../process.ts";
import type { KvmGuest } from "./guest.ts";
import { InterruptController } from "./interrupt-controller.ts";
import { IoEventFds } from "./ioeventfd.ts";
import { IrqFds } from "./irqfd.ts";
import type { Kvm } from "./kvm.ts";
import type { RoutingTable } from "./routing.ts";
import type { KvmVfioFile } from "./vfio-device.ts";

/** What the files of a machine share. It lives as long as one of them. */
export class VirtualMachine {
	readonly irqfds: IrqFds;
	readonly ioeventfds = new IoEventFds();
	/** There is one at most. */
	vfioDevice: KvmVfioFile | undefined;
	/** Who takes interrupts in a processor's place. Without one, messages have nobody to go to. */
	guest: KvmGuest | undefined;
	readonly #kvm: Kvm;
	readonly #owner: SimProcess;
	#controller: InterruptController | undefined;
	#references = 0;

	constructor(kvm: Kvm, owner: SimProcess) {
		this.#kvm = kvm;
		this.#owner = owner;
		const controller = () => this.#controller;
		this.irqfds = new IrqFds({
			get controller() {
				return controller();
			},
			taken: (event: EventFd) => kvm.taken(event, this),
		});
	}

	/** PICs and I/O APIC, from KVM_CREATE_IRQCHIP on. */
	get controller(): InterruptController | undefined {
		return this.#controller;
	}

	/** Where each GSI leads at present. */
	get routing(): RoutingTable {
		return this.#controller?.routing ?? new Map();
	}

	/** A device is assigned whose DMA may pass the processor's caches by, so that a guest's own cache flushes must count. */
	get nonCoherentDma(): boolean {
		return this.vfioDevice?.files.some((file) => file.coherent === false) ?? false;
	}

	/** The address space that made a machine is the only one that may use it: a forked child may not. */
	isOf(process: SimProcess): boolean {
		return process === this.#owner;
	}

	createController(): void {
		this.#controller = new InterruptController(() => this.guest);
		this.#controller.listen((gsi) => this.irqfds.endOfInterrupt(gsi));
	}

	// ---- what a guest does ----

	/** Whether a pin is asserted. @param chip 0 and 1: the PICs, 2: the I/O APIC */
	asserted(chip: number, pin: number): boolean {
		return this.#controller?.asserted(chip, pin) ?? false;
	}

	/** The guest ends the interrupt of a pin. */
	endOfInterrupt(chip: number, pin: number): void {
		this.#controller?.endOfInterrupt(chip, pin);
	}

	/**
	 * The guest writes to memory or a port.
	 *
	 * @param width 1, 2, 4 or 8 bytes
	 * @returns whether an ioeventfd has taken it; the VMM is asked otherwise
	 */
	write(bus: "mmio" | "pio", address: bigint, width: number, value: bigint): boolean {
		return this.ioeventfds.write(bus, address, width, value);
	}

	// ---- lifetime ----

	/** @internal a file of it is open */
	hold(): this {
		this.#references++;
		return this;
	}

	/** @internal a file of it is closed */
	release(): void {
		if (--this.#references > 0) return;
		this.ioeventfds.close();
		this.#kvm.machines.delete(this);
	}
}
