/**
 * The way from an assigned function to its machine and its application. A machine or a listener that fails is reported and
 * goes no further: neither a guest's access nor an interrupt may bring the process down for it.
 *
 * @module
 */
import type { Clock } from "../kernel.ts";
import type { PciSlot } from "../machine/machine.ts";
import { Reports } from "../reports.ts";
import { type FunctionEvent, FunctionEvents } from "./events.ts";

/** The slot a function is in, if any, and those who listen to it. */
export class GuestLink {
	/** Undefined until the function is plugged in, and after it is taken out. */
	slot: PciSlot | undefined;
	readonly #events = new FunctionEvents();
	readonly #reports: Reports;

	/** @param name the function's @param onReport learns of what went wrong */
	constructor(name: string, clock: Clock, onReport: ((message: string) => void) | undefined) {
		this.#reports = new Reports(name, clock, (message) => {
			try {
				onReport?.(message);
				if (this.#events.wanted) this.#events.tell({ type: "report", message });
			} catch {
				// Who fails at listening to reports cannot be told so in a report.
			}
		});
	}

	/** Something failed that a guest cannot be told. It can be passed on without its object. */
	readonly report = (message: string): void => this.#reports.add(message);

	/** @returns dispose it to stop listening */
	subscribe(listener: (event: FunctionEvent) => void): Disposable {
		return this.#events.subscribe(listener);
	}

	/** Tells all listeners. */
	tell(event: FunctionEvent): void {
		try {
			this.#events.tell(event);
		} catch (error) {
			this.#failed(error);
		}
	}

	/** A message for the guest. */
	message(kind: "msi" | "msix", vector: number, address: bigint, data: number): void {
		try {
			this.slot?.message(address, data);
		} catch (error) {
			this.#failed(error);
		}
		if (this.#events.wanted) this.tell({ type: "interrupt", kind, vector });
	}

	/** The level of the function's INTx. @param pin 1 to 4 */
	setPin(pin: number, asserted: boolean): void {
		try {
			this.slot?.setPin(pin, asserted);
		} catch (error) {
			this.#failed(error);
		}
		if (asserted && this.#events.wanted) this.tell({ type: "interrupt", kind: "intx", vector: 0 });
	}

	/** A BAR decodes elsewhere. @returns false when the machine cannot have it there, which is reported */
	placeBar(bar: number, address: bigint | undefined): boolean {
		try {
			this.slot?.placeBar(bar, address);
		} catch (error) {
			this.#failed(error);
			return false;
		}
		if (this.#events.wanted) this.tell({ type: "bar-placed", bar, address });
		return true;
	}

	/** What may be mapped of a BAR has changed. */
	directAreasChanged(bar: number): void {
		try {
			this.slot?.directAreasChanged?.(bar);
		} catch (error) {
			this.#failed(error);
		}
	}

	#failed(error: unknown): void {
		this.#reports.add(error instanceof Error ? error.message : String(error));
	}
}
