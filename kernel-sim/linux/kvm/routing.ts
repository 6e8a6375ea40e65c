/**
 * Where each GSI of a virtual machine leads: pins of interrupt controllers, or a message.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import {
	KVM_IRQ_ROUTING_IRQCHIP,
	KVM_IRQ_ROUTING_MSI,
	KVM_MSI_VALID_DEVID,
	kvm_irq_routing_entry,
} from "../../../core/uapi/kvm.ts";

/** How many GSIs there are: what KVM_CHECK_EXTENSION(KVM_CAP_IRQ_ROUTING) says. */
export const ROUTES = 4096;

/** A pin of an interrupt controller. */
export interface PinRoute {
	readonly kind: "pin";
	readonly chip: number;
	readonly pin: number;
}

/** A message. */
export interface MessageRoute {
	readonly kind: "message";
	readonly address: bigint;
	readonly data: number;
}

/** A synthetic interrupt of Hyper-V's interface, which no device of ours raises. */
export interface SyntheticRoute {
	readonly kind: "synthetic";
}

/** One line of the table. */
export type Route = PinRoute | MessageRoute | SyntheticRoute;

/** Routes by GSI. */
export type RoutingTable = ReadonlyMap<number, readonly Route[]>;

const KVM_IRQ_ROUTING_HV_SINT = 4;
const PIC_PINS = 8;
const IOAPIC = 2;
const IOAPIC_PINS = 24;

/** What a machine begins with: the first 16 GSIs lead to a PIC and to the I/O APIC, the others to the I/O APIC alone. */
export function defaultRouting(): RoutingTable {
	const table = new Map<number, Route[]>();
	for (let gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		const routes: Route[] = [{ kind: "pin", chip: IOAPIC, pin: gsi }];
		if (gsi < 2 * PIC_PINS) routes.push({ kind: "pin", chip: gsi < PIC_PINS ? 0 : 1, pin: gsi % PIC_PINS });
		table.set(gsi, routes);
	}
	return table;
}

/**
 * A table of the entries that KVM_SET_GSI_ROUTING takes.
 *
 * @param entries whole structures
 * @returns -EINVAL when one of them is wrong
 */
export function parseRouting(entries: Uint8Array): RoutingTable | number {
	const table = new Map<number, Route[]>();
	const { size } = kvm_irq_routing_entry;
	const views = Array.from({ length: entries.length / size }, (_, at) =>
		kvm_irq_routing_entry.view(entries, at * size),
	);
	if (views.some(({ gsi }) => gsi >= ROUTES)) return -EINVAL;
	for (const entry of views) {
		const known = entry.type === KVM_IRQ_ROUTING_MSI ? KVM_MSI_VALID_DEVID : 0;
		if ((entry.flags & ~known) !== 0) return -EINVAL;
		const route = routeOf(entry);
		const others = table.get(entry.gsi) ?? [];
		// A GSI leads to one message, or to one pin of each interrupt controller.
		if (!route || others.some((other) => !coexist(other, route))) return -EINVAL;
		table.set(entry.gsi, [...others, route]);
	}
	return table;
}

function coexist(one: Route, other: Route): boolean {
	return one.kind === "pin" && other.kind === "pin" && one.chip !== other.chip;
}

function routeOf(entry: ReturnType<typeof kvm_irq_routing_entry.view>): Route | undefined {
	if (entry.type === KVM_IRQ_ROUTING_MSI) {
		const address = (BigInt(entry.u_msi_address_hi) << 32n) | BigInt(entry.u_msi_address_lo);
		return { kind: "message", address, data: entry.u_msi_data };
	}
	if (entry.type === KVM_IRQ_ROUTING_HV_SINT) return { kind: "synthetic" };
	if (entry.type !== KVM_IRQ_ROUTING_IRQCHIP) return undefined;
	const { u_irqchip_irqchip: chip, u_irqchip_pin: pin } = entry;
	if (chip > IOAPIC || pin >= (chip === IOAPIC ? IOAPIC_PINS : PIC_PINS)) return undefined;
	return { kind: "pin", chip, pin };
}
