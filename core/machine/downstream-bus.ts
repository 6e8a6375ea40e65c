/**
 * The bus below a root port.
 *
 * @module
 */
import type { AddressRange } from "./address-space.ts";
import { PciBus } from "./bus.ts";
import type { AddressDecoder } from "./decoder.ts";
import type { KvmBypass } from "./kvm-bypass.ts";
import type { GuestPciFunction, PciSlot } from "./machine.ts";

/** What the bus below asks of its port. */
export interface DownstreamPort {
	/** What of an address range the port forwards. */
	forwarded(io: boolean, start: number, end: number): readonly AddressRange[];
	pinBelow(device: number, pin: number, asserted: boolean): void;
	messageBelow(address: bigint, data: number): void;
	kvmBelow(device: number): KvmBypass | undefined;
	directAreasChangedBelow(fn: GuestPciFunction, bar: number): void;
	/** Something was plugged or unplugged. */
	occupancyChanged(occupied: boolean): void;
}

/** A link with one device at its end: it has slot 0 and no other (PCI Express Base, section 7.3.1). */
export class DownstreamBus extends PciBus {
	readonly kind: PciSlot["bus"] = "downstream-port";
	readonly #port: DownstreamPort;

	constructor(name: string, decoder: AddressDecoder, port: DownstreamPort) {
		super(name, decoder);
		this.#port = port;
	}

	protected override get slotCount(): number {
		return 1;
	}

	override setPin(device: number, pin: number, asserted: boolean): void {
		this.#port.pinBelow(device, pin, asserted);
	}

	override message(address: bigint, data: number): void {
		this.#port.messageBelow(address, data);
	}

	override kvm(device: number): KvmBypass | undefined {
		return this.#port.kvmBelow(device);
	}

	override reach(io: boolean, start: number, end: number): readonly AddressRange[] {
		return this.#port.forwarded(io, start, end);
	}

	override directAreasChanged(fn: GuestPciFunction, bar: number): void {
		this.#port.directAreasChangedBelow(fn, bar);
	}

	protected override occupancyChanged(): void {
		this.#port.occupancyChanged(this.functions.length > 0);
	}
}
