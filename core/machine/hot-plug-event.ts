/**
 * What a slot that can be plugged while the guest runs tells the VMM.
 *
 * @module
 */
import type { PciBus } from "./bus.ts";
import type { GuestPciFunction } from "./machine.ts";
import type { SlotAddress } from "./slot-address.ts";

/** What an indicator beside a slot shows (PCI Express Base, section 6.7.1.1). */
export type Indicator = "on" | "blinking" | "off";

/** A function and where it is on its bus. */
export interface Occupant {
	readonly function: GuestPciFunction;
	readonly address: SlotAddress;
}

/** Something happened at a slot. */
export type HotPlugEvent =
	/**
	 * The function is out of its slot, because the guest switched the slot off, or because it was asked for while the guest
	 * had no part in it, or at a reset of the machine after it was asked for. Its owner disposes of it now. `error` is what
	 * taking it out threw; it is out all the same.
	 */
	| ({ readonly type: "unplugged"; readonly bus: PciBus; readonly error?: unknown } & Occupant)
	/** The guest was asked for the slot's functions and keeps them: its power indicator went back to steady. */
	| { readonly type: "unplug-refused"; readonly bus: PciBus; readonly occupants: readonly Occupant[] }
	/** The guest switched the slot's power or an indicator. The attention indicator says that something failed there. */
	| {
			readonly type: "slot";
			readonly bus: PciBus;
			readonly powered: boolean;
			readonly power: Indicator;
			readonly attention: Indicator;
	  };

/**
 * Tells each listener each event, in order, whatever one of them throws: an event that is not heard of is a device that is
 * not given back.
 *
 * @throws what a listener threw, or an AggregateError when there were several
 */
export function tellAll(listeners: Iterable<(event: HotPlugEvent) => void>, events: readonly HotPlugEvent[]): void {
	const errors: unknown[] = [];
	const all = [...listeners];
	for (const event of events) {
		for (const listener of all) {
			try {
				listener(event);
			} catch (error) {
				errors.push(error);
			}
		}
	}
	if (errors.length === 1) throw errors[0];
	if (errors.length > 1) throw new AggregateError(errors, `Cannot tell of every hot plug: ${errors.length} errors`);
}
