/**
 * MSI-X: the guest's table above, the kernel's eventfds below.
 *
 * A vector gets its eventfd when the guest first unmasks it and keeps it until MSI-X is switched off. Masking changes
 * nothing in the kernel, whose interface has no mask for messages: what arrives while masked becomes a pending bit. A
 * vector that KVM delivers has a second eventfd for that; while it is masked, the device signals the first.
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import { NO_EVENTFD } from "../device/irq-setup.ts";
import { disposeTriggers, Trigger } from "../device/trigger.ts";
import type { AccessWidth } from "../kernel.ts";
import { PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, PCI_MSIX_FLAGS_MASKALL } from "../uapi/pci_regs.ts";
import { VFIO_PCI_MSIX_IRQ_INDEX } from "../uapi/vfio.ts";
import type { ConfigSpace } from "./config-space.ts";
import { connectAll, DirectMessage } from "./direct-message.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { InterruptHost } from "./interrupt-host.ts";
import type { MsixCapability } from "./msix-capability.ts";
import { MsixTable } from "./msix-table.ts";

/** The MSI-X of one function. */
export class Msix {
	readonly capability: MsixCapability;
	readonly table: MsixTable;
	readonly #device: AssignableDevice;
	readonly #host: InterruptHost;
	readonly #config: ConfigSpace;
	/** Vectors can be added while others are in use. */
	readonly #dynamic: boolean;
	#triggers: (Trigger | undefined)[] = [];
	/** What KVM delivers, by vector. */
	readonly #direct: (DirectMessage | undefined)[] = [];
	/** The vector's eventfd is the kernel's trigger; cleared again where the kernel refused. */
	readonly #armed: Uint8Array;
	/** How many vectors the kernel has allocated, at least: 0 while it is off. */
	#range = 0;
	#active = false;
	#functionMasked = true;

	constructor(device: AssignableDevice, capability: MsixCapability, config: ConfigSpace, host: InterruptHost) {
		this.#device = device;
		this.capability = capability;
		this.#config = config;
		this.#host = host;
		this.#dynamic = device.irq(VFIO_PCI_MSIX_IRQ_INDEX).resizable;
		this.table = new MsixTable(capability.vectors);
		this.#armed = new Uint8Array(capability.vectors);
	}

	/** What the guest's enable bit says. */
	get guestEnabled(): boolean {
		return (this.#control & PCI_MSIX_FLAGS_ENABLE) !== 0;
	}

	/** Between {@link enable} and {@link disable}. */
	get active(): boolean {
		return this.#active;
	}

	get #control(): number {
		return this.#config.registers.get(this.capability.offset + PCI_MSIX_FLAGS, 2);
	}

	/**
	 * The guest has switched MSI-X on. The kernel follows at once, even when every vector is still masked: a device may
	 * send what a driver polls for, and drivers of virtual functions rely on the bit alone.
	 */
	enable(): void {
		this.#active = true;
		this.#functionMasked = (this.#control & PCI_MSIX_FLAGS_MASKALL) !== 0;
		const last = this.#functionMasked ? -1 : this.#prepareUnmasked();
		// A kernel that can add vectors one by one allocates the first alone; otherwise unused ones would be allocated too.
		if (last < 0 || this.#dynamic) this.#range = this.#set(0, [NO_EVENTFD]);
		if (last >= 0) this.#arm(0, last);
		this.#deliverPending();
	}

	/** The guest has written the capability while MSI-X stays on: its function mask may have changed. */
	update(): void {
		const masked = (this.#control & PCI_MSIX_FLAGS_MASKALL) !== 0;
		if (!this.#active || masked === this.#functionMasked) return;
		this.#functionMasked = masked;
		if (!masked) this.#prepareUnmasked();
		let first = -1;
		let last = -1;
		for (let vector = 0; vector < this.#triggers.length; vector++) {
			// What KVM delivers has to be pointed elsewhere; the others only need to be armed.
			if (!this.#triggers[vector] || (!this.#direct[vector] && (masked || this.#armed[vector] === 1))) continue;
			if (first < 0) first = vector;
			last = vector;
		}
		if (first >= 0) this.#arm(first, last);
		this.#deliverPending();
	}

	/** The guest has switched MSI-X off, or the function is taken out. */
	disable(): void {
		if (!this.#active) return;
		this.#active = false;
		this.#functionMasked = true;
		if (this.#range > 0) attempt(this.#host, () => this.#device.disableIrq(VFIO_PCI_MSIX_IRQ_INDEX));
		this.#range = 0;
		this.#armed.fill(0);
		for (const direct of this.#direct.splice(0)) if (direct) attempt(this.#host, () => direct[Symbol.dispose]());
		attempt(this.#host, () => disposeTriggers(this.#triggers));
		this.table.clearAllPending();
		this.#host.pendingChanged(false);
	}

	/** A guest's write to the table. @param offset bytes in the table */
	writeTable(offset: number, width: AccessWidth, value: number): void {
		const vector = Math.floor(offset / 16);
		const before = this.table.masked(vector);
		const control = this.table.write(offset, width, value) >= 0;
		const direct = this.#direct[vector];
		if (!control || this.table.masked(vector) === before) {
			// A guest should mask a vector before it changes the message; one that does not is served all the same.
			if (direct && !before && !control) this.#updateDirect(vector, direct);
			return;
		}
		if (!this.#active || this.#functionMasked) return;
		if (!before) {
			if (direct) this.#point(vector);
			return;
		}
		if (direct) this.#updateDirect(vector, direct);
		if (!this.#triggers[vector]) {
			if (this.#prepare(vector)) {
				this.#connect(vector, vector);
				this.#arm(vector, vector);
			}
		} else if (this.#armed[vector] === 0) this.#arm(vector, vector);
		else if (direct) this.#point(vector);
		if (this.table.pending(vector)) this.#deliver(vector);
	}

	/** Every unmasked vector gets a trigger. @returns the highest one that has it, or -1 */
	#prepareUnmasked(): number {
		let last = -1;
		for (let vector = 0; vector < this.capability.vectors; vector++) {
			if (this.table.masked(vector)) continue;
			if (this.#triggers[vector] || this.#prepare(vector)) last = vector;
		}
		this.#connect(0, last);
		return last;
	}

	#prepare(vector: number): boolean {
		return attempt(this.#host, () => {
			this.#triggers[vector] = new Trigger(this.#device, () => this.#signalled(vector));
		});
	}

	/** Where there is KVM, it delivers those of these vectors that have a trigger; all routes go to it at once. */
	#connect(first: number, last: number): void {
		const kvm = this.#host.kvm("msix");
		if (!kvm) return;
		const added = new Map<DirectMessage, number>();
		let changed = false;
		for (let vector = first; vector <= last; vector++) {
			const present = this.#direct[vector];
			if (present)
				attempt(this.#host, () => {
					if (present.update(this.table.address(vector), this.table.data(vector))) changed = true;
				});
			if (present || !this.#triggers[vector]) continue;
			attempt(this.#host, () => {
				const { kernel } = this.#device;
				const direct = new DirectMessage(kernel, kvm, this.table.address(vector), this.table.data(vector));
				added.set(direct, vector);
			});
		}
		if (changed && added.size === 0) attempt(this.#host, () => kvm.commitRoutes());
		const report = (error: unknown) => this.#host.report((error as Error).message);
		const connected = connectAll(kvm, [...added.keys()], report);
		for (const [direct, vector] of added) if (connected.has(direct)) this.#direct[vector] = direct;
	}

	#updateDirect(vector: number, direct: DirectMessage): void {
		attempt(this.#host, () => {
			if (direct.update(this.table.address(vector), this.table.data(vector))) this.#host.kvm("msix")?.commitRoutes();
		});
	}

	/** What the device shall signal for a vector: KVM's eventfd only while nothing is masked. */
	#eventfd(vector: number): number {
		const direct = this.#functionMasked || this.table.masked(vector) ? undefined : this.#direct[vector];
		return direct?.fd ?? this.#triggers[vector]?.fd ?? NO_EVENTFD;
	}

	/** Has the device signal the right one of a vector's two eventfds. */
	#point(vector: number): void {
		if (this.#armed[vector] === 1) this.#set(vector, [this.#eventfd(vector)]);
	}

	/** Makes the kernel signal the triggers from `first` to `last`, with one call or two. */
	#arm(first: number, last: number): void {
		if (last >= this.#range && !this.#dynamic) {
			// The kernel allocates all vectors at once: a larger range means to start anew.
			if (this.#range > 0) attempt(this.#host, () => this.#device.disableIrq(VFIO_PCI_MSIX_IRQ_INDEX));
			this.#range = 0;
			this.#armed.fill(0);
			first = 0;
		}
		const fds: number[] = [];
		for (let vector = first; vector <= last; vector++) fds.push(this.#eventfd(vector));
		const available = this.#set(first, fds);
		if (available === fds.length) this.#armedNow(first, last);
		else if (available > 0 && first === 0 && this.#set(0, fds.slice(0, available)) === available)
			this.#armedNow(0, available - 1);
		else if (last > first) this.#armSingly(first, last);
	}

	#armedNow(first: number, last: number): void {
		for (let vector = first; vector <= last; vector++) this.#armed[vector] = this.#triggers[vector] ? 1 : 0;
		this.#range = Math.max(this.#range, last + 1);
	}

	/** After a refused block, in which the kernel has switched all off: what can work shall work. */
	#armSingly(first: number, last: number): void {
		this.#armed.fill(0, first, last + 1);
		for (let vector = first; vector <= last; vector++) {
			if (!this.#triggers[vector]) continue;
			if (!this.#dynamic && this.#range > 0 && vector >= this.#range) return;
			if (this.#set(vector, [this.#eventfd(vector)]) !== 1) return;
			this.#armedNow(vector, vector);
		}
	}

	/** One SET_IRQS. @returns how many vectors the kernel has set: all, or what it could give instead, or 0; less is reported */
	#set(start: number, fds: readonly number[]): number {
		let done = 0;
		attempt(this.#host, () => {
			const available = this.#device.setEventfds(VFIO_PCI_MSIX_IRQ_INDEX, start, fds);
			done = available > 0 ? Math.min(available, fds.length - 1) : fds.length;
			if (available > 0)
				throw new Error(
					`Cannot use ${start + fds.length} MSI-X vectors of ${this.#device.name}: the host has ${available}`,
				);
		});
		return done;
	}

	#signalled(vector: number): void {
		if (!this.#active) return;
		if (this.#functionMasked || this.table.masked(vector)) {
			const any = this.table.anyPending;
			this.table.setPending(vector, true);
			if (!any) this.#host.pendingChanged(true);
		} else {
			this.#host.message("msix", vector, this.table.address(vector), this.table.data(vector));
		}
	}

	#deliverPending(): void {
		if (this.#functionMasked || !this.table.anyPending) return;
		// A message may lead to the next mask at once.
		for (let vector = 0; vector < this.capability.vectors && !this.#functionMasked; vector++)
			if (this.table.pending(vector) && !this.table.masked(vector)) this.#deliver(vector);
	}

	#deliver(vector: number): void {
		this.table.setPending(vector, false);
		if (!this.table.anyPending) this.#host.pendingChanged(false);
		this.#host.message("msix", vector, this.table.address(vector), this.table.data(vector));
	}
}
