/**
 * The bus at the top: what the processor's chipset has below it.
 *
 * @module
 */
import type { AddressRange } from "./address-space.ts";
import { PciBus } from "./bus.ts";
import { AddressDecoder } from "./decoder.ts";
import { PIN_COUNT, WiredOr } from "./intx.ts";
import type { KvmBypass } from "./kvm-bypass.ts";
import type { GuestPciFunction, PciSlot } from "./machine.ts";
import { SLOTS_PER_BUS } from "./slot-address.ts";

/** What a VMM does with what comes up from its PCI buses. */
export interface RootBusUpstream {
	/**
	 * A device's pin changed its level; which interrupt line that is, the chipset's routing says.
	 *
	 * @param device device number on the root bus
	 * @param pin 1 (INTA) to 4 (INTD), after the bridges' swizzling
	 */
	pin(device: number, pin: number, asserted: boolean): void;
	/** An MSI or MSI-X message: a write of the 32-bit `data` to the guest-physical `address`. */
	message(address: bigint, data: number): void;
	/** What may be mapped into the guest of a function's BAR has changed. */
	directAreasChanged?(fn: GuestPciFunction, bar: number): void;
	/** KVM, where the machine runs on it. Call {@link PciBus.interruptRoutesChanged} when pins lead elsewhere. */
	readonly kvm?: RootBusKvm | undefined;
}

/** KVM as the chipset has it: a pin is one of a device on the root bus, after the bridges' swizzling. */
export interface RootBusKvm extends Omit<KvmBypass, "connectIntx"> {
	/** As {@link KvmBypass.connectIntx}. @param device device number on the root bus */
	connectIntx(device: number, pin: number, trigger: number, resample: number): Disposable | undefined;
}

/** Options of a {@link RootBus}. */
export interface RootBusOptions {
	/** `pcie.0` when left out. */
	readonly name?: string;
	/** `root-complex` when left out; `conventional` for a chipset without PCI Express. */
	readonly kind?: "root-complex" | "conventional";
}

/** Bus 0. */
export class RootBus extends PciBus {
	readonly kind: PciSlot["bus"];
	readonly #upstream: RootBusUpstream;
	readonly #pins = new WiredOr(SLOTS_PER_BUS * PIN_COUNT);

	constructor(upstream: RootBusUpstream, options: RootBusOptions = {}) {
		super(options.name ?? "pcie.0", new AddressDecoder());
		this.kind = options.kind ?? "root-complex";
		this.#upstream = upstream;
	}

	/** The bus with this number: itself for 0, or one below it. Allocates nothing. */
	bus(number: number): PciBus | undefined {
		return number === 0 ? this : this.busBelow(number);
	}

	override setPin(device: number, pin: number, asserted: boolean): void {
		const line = device * PIN_COUNT + pin - 1;
		const changed = asserted ? this.#pins.assert(line) : this.#pins.release(line);
		if (changed) this.#upstream.pin(device, pin, asserted);
	}

	override message(address: bigint, data: number): void {
		this.#upstream.message(address, data);
	}

	override kvm(device: number): KvmBypass | undefined {
		const { kvm } = this.#upstream;
		return (
			kvm && {
				connectIntx: (pin, trigger, resample) => kvm.connectIntx(device, pin, trigger, resample),
				addMessageRoute: (address, data) => kvm.addMessageRoute(address, data),
				commitRoutes: () => kvm.commitRoutes(),
				...(kvm.connectWrite ? { connectWrite: kvm.connectWrite.bind(kvm) } : {}),
			}
		);
	}

	override reach(_io: boolean, start: number, end: number): readonly AddressRange[] {
		return [{ start, end }];
	}

	override directAreasChanged(fn: GuestPciFunction, bar: number): void {
		this.#upstream.directAreasChanged?.(fn, bar);
	}
}
