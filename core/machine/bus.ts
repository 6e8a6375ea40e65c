/**
 * A PCI bus: which function sits where, and the rules for that.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { PCI_HEADER_TYPE, PCI_HEADER_TYPE_MFD } from "../uapi/pci_regs.ts";
import type { AddressRange } from "./address-space.ts";
import type { AddressDecoder } from "./decoder.ts";
import { notHotPluggable, otherBuses } from "./hot-plug-rules.ts";
import type { KvmBypass } from "./kvm-bypass.ts";
import type { GuestPciFunction, PciSlot } from "./machine.ts";
import { BusSlot } from "./slot.ts";
import { FUNCTIONS_PER_SLOT, formatSlotAddress, SLOTS_PER_BUS, type SlotAddress } from "./slot-address.ts";

/** How to put a function into a bus. */
export interface PlugOptions {
	/** Where; the first free slot when left out. */
	readonly address?: SlotAddress | undefined;
	/** `multifunction=on`: the slot may hold further functions. */
	readonly multifunction?: boolean | undefined;
}

/** How to put a function into a bus while the guest runs. */
export interface HotPlugOptions extends PlugOptions {
	/**
	 * Refuse a function whose BARs do not fit into the windows that the guest gave to the port. Guests that make the windows
	 * larger when they need to, as Linux tries to, can take such functions all the same.
	 */
	readonly requireRoom?: boolean | undefined;
}

/** A function that has a bus below it. */
export interface PciBridge extends GuestPciFunction {
	/** The bus below. */
	readonly secondary: PciBus;
	/** The number the guest gave to the bus below; 0 while it has none. */
	readonly secondaryNumber: number;
	/** The highest bus number below; accesses from `secondaryNumber` to this one are forwarded. */
	readonly subordinateNumber: number;
}

/** A PCI bus with 32 slots of 8 functions. */
export abstract class PciBus {
	/** How options call it: `pcie.0`, or a root port's id. */
	readonly name: string;
	/** What a function on it is below. */
	abstract readonly kind: PciSlot["bus"];
	/** Where the BARs of its functions decode. */
	readonly decoder: AddressDecoder;
	readonly #slots: (BusSlot | undefined)[] = Array(SLOTS_PER_BUS * FUNCTIONS_PER_SLOT).fill(undefined);
	readonly #reserved = new Map<number, string>();
	readonly #bridges: PciBridge[] = [];

	protected constructor(name: string, decoder: AddressDecoder) {
		this.name = name;
		this.decoder = decoder;
	}

	/** How many of the device numbers can be used. */
	protected get slotCount(): number {
		return SLOTS_PER_BUS;
	}

	/** @internal A pin of a device on this bus changed its level, all functions of the device together. */
	abstract setPin(device: number, pin: number, asserted: boolean): void;
	/** @internal A function on this bus sends a message. */
	abstract message(address: bigint, data: number): void;
	/** @internal Which part of an address range reaches this bus. */
	abstract reach(io: boolean, start: number, end: number): readonly AddressRange[];
	/** @internal What may be mapped of a function's BAR has changed. */
	abstract directAreasChanged(fn: GuestPciFunction, bar: number): void;

	/** A slot that holds something this bus does not know, such as a VMM's own chipset function, is not given away. */
	reserve(address: SlotAddress, occupant: string): void {
		this.#reserved.set(address.device, occupant);
	}

	/**
	 * Puts a function into a slot before the guest starts; see {@link hotPlug} for afterwards.
	 *
	 * @returns where it is
	 * @throws VfioError `invalid-argument`, or what the function throws; the slot is then as before
	 */
	plug(fn: GuestPciFunction, options: PlugOptions = {}): SlotAddress {
		const address = options.address ?? this.#freeSlot(fn);
		const multifunction = options.multifunction ?? false;
		this.check(fn.name, address, multifunction);
		const index = slotIndex(address);
		const slot = new BusSlot(this, fn, address, multifunction);
		this.#slots[index] = slot;
		try {
			fn.plug(slot);
		} catch (error) {
			slot.close();
			this.#slots[index] = undefined;
			throw error;
		}
		if (isBridge(fn)) this.#bridges.push(fn);
		this.occupancyChanged();
		return address;
	}

	/**
	 * Whether a function could be plugged while the guest runs.
	 *
	 * @param name how the error calls the function
	 * @returns where it would be
	 * @throws VfioError `not-hot-pluggable`, `invalid-argument`
	 */
	checkHotPlug(_options: PlugOptions = {}, name = "a device"): SlotAddress {
		const reason = `${this.name} has no hot-plug controller`;
		throw notHotPluggable(`plug ${name} into`, this.name, reason, otherBuses(this.#bridges));
	}

	/**
	 * Puts a function into a slot while the guest runs, which is told. The guest sees a device when there is a function 0, so
	 * that one comes last.
	 *
	 * @returns where it is
	 * @throws VfioError `not-hot-pluggable`, `invalid-argument`, or what the function throws; the slot is then as before
	 */
	hotPlug(fn: GuestPciFunction, options: HotPlugOptions = {}): SlotAddress {
		return this.checkHotPlug(options, fn.name);
	}

	/**
	 * Asks the guest to let go of a function; see `HotPlug.requestUnplug`.
	 *
	 * @throws VfioError `not-hot-pluggable`, `guest-busy`
	 */
	requestUnplug(fn: GuestPciFunction): "unplugged" | "requested" {
		const remedy = ["Stop the guest first: only what is below a root port can be unplugged while it runs"];
		throw notHotPluggable("unplug", fn.name, `${this.name} has no hot-plug controller`, remedy);
	}

	/** Takes a request of {@link requestUnplug} back; see `HotPlug.cancelUnplug`. */
	cancelUnplug(_fn: GuestPciFunction): "cancelled" | "requested" {
		return "cancelled";
	}

	/**
	 * Takes a function out at once. Its BARs decode nowhere and its pins are released; a guest that runs sees that it was
	 * pulled out by surprise.
	 *
	 * @throws what the function's `unplug` throws; it is out all the same
	 */
	unplug(fn: GuestPciFunction): void {
		const index = this.#slots.findIndex((slot) => slot?.function === fn);
		const slot = this.#slots[index];
		if (slot === undefined) return;
		try {
			fn.unplug();
		} finally {
			slot.close();
			this.#slots[index] = undefined;
			const bridge = this.#bridges.indexOf(fn as PciBridge);
			if (bridge >= 0) this.#bridges.splice(bridge, 1);
			this.occupancyChanged();
		}
	}

	/** Something was plugged or unplugged. */
	protected occupancyChanged(): void {}

	/** The functions on this bus, in address order. */
	get functions(): GuestPciFunction[] {
		return this.#slots.flatMap((slot) => (slot === undefined ? [] : [slot.function]));
	}

	/** The bridges on this bus, in the order they were plugged. */
	get bridges(): readonly PciBridge[] {
		return this.#bridges;
	}

	/** Where a function is, or undefined when it is not on this bus. */
	addressOf(fn: GuestPciFunction): SlotAddress | undefined {
		return this.#slots.find((slot) => slot?.function === fn)?.address;
	}

	/**
	 * The function that answers a configuration access on this bus, or undefined. Functions 1 to 7 answer only where there
	 * is a function 0, because a device must have one (PCI Local Bus 3.0, section 3.2.2.3.4).
	 *
	 * @param devfn device number times 8 plus function number
	 */
	functionAt(devfn: number): GuestPciFunction | undefined {
		const slot = this.#slots[devfn];
		if (slot === undefined || this.#slots[devfn & ~7] === undefined) return undefined;
		return slot.function;
	}

	/**
	 * The bus below this one that has the number, through as many bridges as it takes, or undefined. Allocates nothing.
	 *
	 * @param number a bus number above 0
	 */
	busBelow(number: number): PciBus | undefined {
		for (let i = 0; i < this.#bridges.length; i++) {
			const bridge = this.#bridges[i] as PciBridge;
			if (bridge.secondaryNumber === 0 || number < bridge.secondaryNumber || number > bridge.subordinateNumber)
				continue;
			return number === bridge.secondaryNumber ? bridge.secondary : bridge.secondary.busBelow(number);
		}
		return undefined;
	}

	/**
	 * The guest has ended an interrupt of a device's pin: the functions that assert it hear of it, through bridges too. A
	 * chipset calls it on the root bus for every device and pin that is routed to the line which has ended.
	 */
	endOfInterrupt(device: number, pin: number): void {
		const first = device * FUNCTIONS_PER_SLOT;
		for (let index = first; index < first + FUNCTIONS_PER_SLOT; index++) {
			const slot = this.#slots[index];
			if (slot?.asserts(pin)) slot.function.endOfInterrupt?.(pin);
		}
	}

	/** Pins lead to other interrupt lines than before: functions whose pin KVM serves connect it anew. */
	interruptRoutesChanged(): void {
		for (const slot of this.#slots) slot?.function.interruptRouteChanged?.();
	}

	/** @internal KVM as a device on this bus sees it. */
	kvm(_device: number): KvmBypass | undefined {
		return undefined;
	}

	/** Resets every function on the bus, and what is below its bridges. */
	reset(): void {
		for (const slot of this.#slots) slot?.function.reset();
	}

	#freeSlot(fn: GuestPciFunction): SlotAddress {
		for (let device = 0; device < this.slotCount; device++) {
			const first = device * FUNCTIONS_PER_SLOT;
			const taken = this.#slots.slice(first, first + FUNCTIONS_PER_SLOT).some((slot) => slot !== undefined);
			if (!taken && !this.#reserved.has(device)) return { device, function: 0 };
		}
		throw new VfioError("invalid-argument", `Cannot plug ${fn.name} into ${this.name}: no slot is free`, {
			device: fn.name,
		});
	}

	/** The rules of a slot and its functions. @throws VfioError `invalid-argument` */
	protected check(name: string, address: SlotAddress, multifunction: boolean): void {
		const where = formatSlotAddress(address);
		const refuse = (reason: string, remedy: string[] = []): never => {
			throw new VfioError("invalid-argument", `Cannot plug ${name} into ${this.name} slot ${where}: ${reason}`, {
				device: name,
				remedy,
			});
		};
		if (address.device >= this.slotCount) {
			refuse(`${this.name} has only slot 0`, [`Use bus=${this.name},addr=0`]);
		}
		const reserved = this.#reserved.get(address.device);
		if (reserved !== undefined) refuse(`${reserved} is there`, ["Use another addr"]);
		const occupant = this.#slots[slotIndex(address)];
		if (occupant !== undefined) refuse(`${occupant.function.name} is there`, ["Use another addr"]);

		const first = address.device * FUNCTIONS_PER_SLOT;
		const zero = this.#slots[first];
		if (address.function !== 0 && zero !== undefined && !isMultifunction(zero)) {
			refuse(`PCI: single function device can't be populated in bus ${this.name} function ${where}`, [
				`Give ${zero.function.name} the option multifunction=on`,
			]);
		}
		const sibling = this.#slots.slice(first + 1, first + FUNCTIONS_PER_SLOT).find((slot) => slot !== undefined);
		if (address.function === 0 && !multifunction && sibling !== undefined) {
			const populated = formatSlotAddress(sibling.address);
			refuse(`PCI: ${where} indicates single function, but ${populated} is already populated`, [
				`Give ${name} the option multifunction=on`,
			]);
		}
	}
}

function slotIndex(address: SlotAddress): number {
	return address.device * FUNCTIONS_PER_SLOT + address.function;
}

// What the guest sees decides: bit 7 of the header type, which the slot asks for and the function shows.
function isMultifunction(slot: BusSlot): boolean {
	return slot.multifunction || (slot.function.configRead(PCI_HEADER_TYPE, 1) & PCI_HEADER_TYPE_MFD) !== 0;
}

function isBridge(fn: GuestPciFunction): fn is PciBridge {
	return "secondary" in fn;
}
