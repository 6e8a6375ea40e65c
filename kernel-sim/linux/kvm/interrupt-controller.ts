/**
 * The interrupt controllers inside KVM: routes, and the levels of pins, which several sources hold up together.
 *
 * @module
 */
import type { KvmGuest } from "./guest.ts";
import { defaultRouting, type Route, type RoutingTable } from "./routing.ts";

/** Who asserts a pin: the VMM and plain irqfds share one, irqfds with a resample eventfd have another. */
export type Source = "user" | "resampler";

/** Learns that a guest has ended the interrupt of a GSI. */
export type EndOfInterruptListener = (gsi: number) => void;

/** PICs and I/O APIC of one virtual machine. */
export class InterruptController {
	/** Replaced as a whole. */
	routing: RoutingTable = defaultRouting();
	readonly #guest: () => KvmGuest | undefined;
	/** Sources that hold a pin up, by chip and pin. */
	readonly #held = new Map<string, Set<Source>>();
	readonly #listeners = new Set<EndOfInterruptListener>();

	constructor(guest: () => KvmGuest | undefined) {
		this.#guest = guest;
	}

	/** Whether anybody asserts a pin. */
	asserted(chip: number, pin: number): boolean {
		return (this.#held.get(`${chip}.${pin}`)?.size ?? 0) > 0;
	}

	/** Sets the level of a GSI; messages go with a rising one. A GSI that leads nowhere is no error. */
	set(gsi: number, source: Source, level: boolean): void {
		for (const route of this.routing.get(gsi) ?? []) this.#drive(route, source, level);
	}

	/** An edge: what a plain irqfd makes of each signal. */
	pulse(gsi: number): void {
		this.set(gsi, "user", true);
		this.set(gsi, "user", false);
	}

	/** The guest ends the interrupt of a pin: each GSI that leads there is told to whoever resamples. */
	endOfInterrupt(chip: number, pin: number): void {
		for (const [gsi, routes] of this.routing)
			if (routes.some((route) => route.kind === "pin" && route.chip === chip && route.pin === pin))
				for (const listener of [...this.#listeners]) listener(gsi);
	}

	/** Calls back when a guest ends an interrupt. */
	listen(listener: EndOfInterruptListener): void {
		this.#listeners.add(listener);
	}

	#drive(route: Route, source: Source, level: boolean): void {
		if (route.kind === "message") {
			if (level) this.#guest()?.message?.(route.address, route.data);
			return;
		}
		if (route.kind === "synthetic") return;
		const key = `${route.chip}.${route.pin}`;
		const held = this.#held.get(key) ?? new Set();
		const before = held.size > 0;
		if (level) held.add(source);
		else held.delete(source);
		this.#held.set(key, held);
		if (before !== held.size > 0) this.#guest()?.line?.(route.chip, route.pin, !before);
	}
}
