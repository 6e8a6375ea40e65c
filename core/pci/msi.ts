/**
 * MSI: one capability's worth of messages, all or nothing (PCI Local Bus 3.0, 6.8.1).
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import { disposeTriggers, Trigger } from "../device/trigger.ts";
import {
	PCI_MSI_ADDRESS_HI,
	PCI_MSI_ADDRESS_LO,
	PCI_MSI_FLAGS,
	PCI_MSI_FLAGS_ENABLE,
	PCI_MSI_FLAGS_QSIZE,
} from "../uapi/pci_regs.ts";
import { VFIO_PCI_MSI_IRQ_INDEX } from "../uapi/vfio.ts";
import type { ConfigSpace } from "./config-space.ts";
import { connectAll, DirectMessage } from "./direct-message.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { InterruptHost } from "./interrupt-host.ts";
import type { MsiCapability } from "./msi-capability.ts";

/** The MSI of one function. */
export class Msi {
	readonly capability: MsiCapability;
	readonly #device: AssignableDevice;
	readonly #host: InterruptHost;
	readonly #config: ConfigSpace;
	readonly #triggers: Trigger[] = [];
	/** What KVM delivers, by vector. The mask bits are the device's own as well, so that it sends nothing that is masked. */
	readonly #direct: (DirectMessage | undefined)[] = [];
	/** What the guest allocated: messages differ in this many low values of the data. */
	#allocated = 1;
	#active = false;
	/** The guest's address, read when it changes so that delivering a message makes no bigint. */
	#address = 0n;

	constructor(device: AssignableDevice, capability: MsiCapability, config: ConfigSpace, host: InterruptHost) {
		this.#device = device;
		this.capability = capability;
		this.#config = config;
		this.#host = host;
	}

	/** What the guest's enable bit says. */
	get guestEnabled(): boolean {
		return (this.#flags & PCI_MSI_FLAGS_ENABLE) !== 0;
	}

	/** Between {@link enable} and {@link disable}, unless the kernel refused. */
	get active(): boolean {
		return this.#active;
	}

	get #flags(): number {
		return this.#config.registers.get(this.capability.offset + PCI_MSI_FLAGS, 2);
	}

	/**
	 * The guest has switched MSI on. When the host has fewer vectors than the guest allocated, it gets those; what the
	 * guest wrote into the queue size stays as it is.
	 */
	enable(): void {
		this.update();
		this.#active = attempt(this.#host, () => {
			let wanted = this.#allocated;
			for (;;) {
				for (let vector = this.#triggers.length; vector < wanted; vector++)
					this.#triggers.push(new Trigger(this.#device, () => this.#signalled(vector)));
				this.#prepareDirect(wanted);
				const fds = this.#triggers.map((trigger, vector) => this.#direct[vector]?.fd ?? trigger.fd);
				const available = this.#device.setEventfds(VFIO_PCI_MSI_IRQ_INDEX, 0, fds);
				if (available <= 0) return;
				const refusal = `Cannot use ${wanted} MSI vectors of ${this.#device.name}: the host has ${available}`;
				if (available >= wanted) throw new Error(refusal);
				this.#host.report(refusal);
				wanted = available;
				this.#release(wanted);
			}
		});
		if (!this.#active) this.#release(0);
	}

	/** The guest has written the capability: its message or its mask bits may have changed. */
	update(): void {
		const { offset, address64, vectors } = this.capability;
		const size = (this.#flags & PCI_MSI_FLAGS_QSIZE) >> 4;
		const largest = Math.log2(vectors);
		// More than the device has cannot be allocated; until MSI is switched on, the field holds what was written.
		if (size > largest && this.guestEnabled)
			this.#config.registers.set(offset + PCI_MSI_FLAGS, 2, (this.#flags & ~PCI_MSI_FLAGS_QSIZE) | (largest << 4));
		this.#allocated = 1 << Math.min(size, largest);
		const high = address64 ? this.#config.registers.get(offset + PCI_MSI_ADDRESS_HI, 4) : 0;
		this.#address = (BigInt(high) << 32n) | BigInt(this.#config.registers.get(offset + PCI_MSI_ADDRESS_LO, 4));
		if (!this.#active) return;
		this.#updateDirect();
		this.#deliverUnmasked();
	}

	/** The guest has switched MSI off, or the function is taken out. */
	disable(): void {
		if (!this.#active) return;
		this.#active = false;
		attempt(this.#host, () => this.#device.disableIrq(VFIO_PCI_MSI_IRQ_INDEX));
		this.#release(0);
		this.#setPending(0);
	}

	/** Gives back the vectors from `first` on. */
	#release(first: number): void {
		for (const direct of this.#direct.splice(first)) if (direct) attempt(this.#host, () => direct[Symbol.dispose]());
		attempt(this.#host, () => disposeTriggers(this.#triggers.splice(first)));
	}

	/** Where there is KVM, it delivers every vector that it takes. */
	#prepareDirect(vectors: number): void {
		const kvm = this.#host.kvm("msi");
		if (!kvm) return;
		const { kernel } = this.#device;
		const added: DirectMessage[] = [];
		for (let vector = this.#direct.length; vector < vectors; vector++) {
			this.#direct[vector] = undefined;
			attempt(this.#host, () => {
				const direct = new DirectMessage(kernel, kvm, this.#address, this.#data(vector));
				this.#direct[vector] = direct;
				added.push(direct);
			});
		}
		const connected = connectAll(kvm, added, (error) => this.#host.report((error as Error).message));
		for (const [vector, direct] of this.#direct.entries())
			if (direct && added.includes(direct) && !connected.has(direct)) this.#direct[vector] = undefined;
	}

	/** The guest may have changed its message: KVM sends the new one. */
	#updateDirect(): void {
		const kvm = this.#host.kvm("msi");
		if (!kvm) return;
		attempt(this.#host, () => {
			let changed = false;
			for (const [vector, direct] of this.#direct.entries())
				if (direct?.update(this.#address, this.#data(vector))) changed = true;
			if (changed) kvm.commitRoutes();
		});
	}

	#signalled(vector: number): void {
		if (!this.#active) return;
		const { mask } = this.capability;
		if (mask !== undefined && ((this.#config.registers.get(mask, 4) >>> vector) & 1) === 1)
			this.#setPending(this.#config.registers.get(mask + 4, 4) | (1 << vector));
		else this.#deliver(vector);
	}

	#deliverUnmasked(): void {
		const { mask } = this.capability;
		if (mask === undefined) return;
		const pending = this.#config.registers.get(mask + 4, 4);
		const ready = pending & ~this.#config.registers.get(mask, 4);
		if (ready === 0) return;
		this.#setPending(pending & ~ready);
		for (let vector = 0; vector < this.#allocated; vector++)
			if (this.#active && (ready >>> vector) & 1) this.#deliver(vector);
	}

	#setPending(bits: number): void {
		if (this.capability.mask !== undefined) this.#config.registers.set(this.capability.mask + 4, 4, bits);
	}

	#deliver(vector: number): void {
		this.#host.message("msi", vector, this.#address, this.#data(vector));
	}

	/** The low bits of the data carry the vector, as many as the guest allocated. */
	#data(vector: number): number {
		return (this.#config.registers.get(this.capability.data, 2) & ~(this.#allocated - 1)) | vector;
	}
}
