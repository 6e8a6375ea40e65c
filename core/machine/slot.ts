/**
 * The slot of a bus that a function sits in.
 *
 * @module
 */
import type { AddressRange, AddressSpace } from "./address-space.ts";
import type { PciBus } from "./bus.ts";
import { PIN_COUNT } from "./intx.ts";
import type { KvmBypass } from "./kvm-bypass.ts";
import type { GuestPciFunction, PciSlot } from "./machine.ts";
import type { SlotAddress } from "./slot-address.ts";

/** A slot with its function. The bus makes one when it takes a function, and closes it when the function goes. */
export class BusSlot implements PciSlot {
	readonly bus: PciSlot["bus"];
	readonly multifunction: boolean;
	/** The bus the slot is on. */
	readonly parent: PciBus;
	readonly function: GuestPciFunction;
	readonly address: SlotAddress;
	/** Bit n: pin n + 1 is asserted. */
	#pins = 0;
	#closed = false;

	constructor(parent: PciBus, fn: GuestPciFunction, address: SlotAddress, multifunction: boolean) {
		this.bus = parent.kind;
		this.multifunction = multifunction;
		this.parent = parent;
		this.function = fn;
		this.address = address;
	}

	get kvm(): KvmBypass | undefined {
		return this.#closed ? undefined : this.parent.kvm(this.address.device);
	}

	setPin(pin: number, asserted: boolean): void {
		const bit = 1 << (pin - 1);
		if (this.#closed || pin < 1 || pin > PIN_COUNT || ((this.#pins & bit) !== 0) === asserted) return;
		this.#pins ^= bit;
		this.parent.setPin(this.address.device, pin, asserted);
	}

	/** Whether the function asserts a pin. */
	asserts(pin: number): boolean {
		return (this.#pins & (1 << (pin - 1))) !== 0;
	}

	message(address: bigint, data: number): void {
		if (!this.#closed) this.parent.message(address, data);
	}

	placeBar(bar: number, address: bigint | undefined): void {
		const description = this.function.bar(bar);
		if (this.#closed || description === undefined) return;
		const io = description.kind === "io";
		const space: AddressSpace = io ? this.parent.decoder.io : this.parent.decoder.memory;
		if (address === undefined) {
			space.remove(this.function, bar);
			return;
		}
		const base = Number(address);
		const end = base + description.size;
		const visible = (): readonly AddressRange[] => this.parent.reach(io, base, end);
		space.place(this.function, bar, base, description.size, visible);
	}

	directAreasChanged(bar: number): void {
		if (!this.#closed) this.parent.directAreasChanged(this.function, bar);
	}

	/** The function has gone: nothing of it is left on the bus. */
	close(): void {
		for (let pin = 1; pin <= PIN_COUNT; pin++) this.setPin(pin, false);
		for (let bar = 0; bar <= 6; bar++) this.placeBar(bar, undefined);
		this.#closed = true;
	}
}
