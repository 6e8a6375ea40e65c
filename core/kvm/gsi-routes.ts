/**
 * The routing table of a virtual machine. KVM takes it as a whole, so everything that is in it is kept here.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, kvm_irq_routing, kvm_irq_routing_entry } from "../uapi/kvm.ts";

/** A pin of an interrupt controller that a GSI leads to. */
export interface InterruptPin {
	readonly gsi: number;
	/** 0 and 1: the PICs; 2: the I/O APIC. */
	readonly chip: number;
	/** On the chip. */
	readonly pin: number;
}

/** A message that a GSI leads to. */
export interface RoutedMessage {
	readonly gsi: number;
	address: bigint;
	data: number;
}

const PIC_PINS = 8;
const IOAPIC = 2;
const IOAPIC_PINS = 24;

/** What a machine has from KVM_CREATE_IRQCHIP on: GSIs 0 to 15 lead to a PIC and the I/O APIC, 16 to 23 to the latter. */
export const PC_PINS: readonly InterruptPin[] = Array.from({ length: IOAPIC_PINS }, (_, gsi) => [
	...(gsi < 2 * PIC_PINS ? [{ gsi, chip: gsi < PIC_PINS ? 0 : 1, pin: gsi % PIC_PINS }] : []),
	{ gsi, chip: IOAPIC, pin: gsi },
]).flat();

/** Pins that stay, and messages that come and go. */
export class GsiRoutes {
	readonly #pins: readonly InterruptPin[];
	readonly #limit: number;
	readonly #messages = new Map<number, RoutedMessage>();
	readonly #first: number;

	/** @param pins what the VMM has in the table @param limit how many GSIs there are */
	constructor(pins: readonly InterruptPin[], limit: number) {
		this.#pins = pins;
		this.#limit = limit;
		this.#first = 1 + pins.reduce((highest, { gsi }) => Math.max(highest, gsi), -1);
	}

	/** Gives a message the lowest GSI that is free. @throws VfioError `interrupt-failed` when there is none */
	add(address: bigint, data: number): RoutedMessage {
		let gsi = this.#first;
		while (this.#messages.has(gsi)) gsi++;
		if (gsi >= this.#limit)
			throw new VfioError(
				"interrupt-failed",
				`Cannot give KVM another message: its ${this.#limit} interrupt routes are in use`,
			);
		const message = { gsi, address, data };
		this.#messages.set(gsi, message);
		return message;
	}

	remove(message: RoutedMessage): void {
		if (this.#messages.get(message.gsi) === message) this.#messages.delete(message.gsi);
	}

	/** How many routes there are. */
	get count(): number {
		return this.#pins.length + this.#messages.size;
	}

	/** The argument of KVM_SET_GSI_ROUTING. */
	encode(): Uint8Array {
		const { count } = this;
		const table = kvm_irq_routing.create(count * kvm_irq_routing_entry.size);
		table.nr = count;
		let at = kvm_irq_routing.size;
		const next = (gsi: number, type: number) => {
			const entry = kvm_irq_routing_entry.view(table.bytes, at);
			at += kvm_irq_routing_entry.size;
			entry.gsi = gsi;
			entry.type = type;
			return entry;
		};
		for (const { gsi, chip, pin } of this.#pins) {
			const entry = next(gsi, KVM_IRQ_ROUTING_IRQCHIP);
			entry.u_irqchip_irqchip = chip;
			entry.u_irqchip_pin = pin;
		}
		for (const { gsi, address, data } of this.#messages.values()) {
			const entry = next(gsi, KVM_IRQ_ROUTING_MSI);
			entry.u_msi_address_lo = Number(address & 0xffffffffn);
			entry.u_msi_address_hi = Number(address >> 32n);
			entry.u_msi_data = data;
		}
		return table.bytes;
	}
}
