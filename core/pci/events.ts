/**
 * What an assigned function tells the application that hosts it.
 *
 * @module
 */
import type { InterruptMode } from "./interrupts.ts";
import type { RequestAction } from "./request-policy.ts";
import type { ResetReport } from "./reset.ts";

/** Something happened to an assigned function. */
export type FunctionEvent =
	/** An interrupt went to the guest; for INTx only its beginning. */
	| { readonly type: "interrupt"; readonly kind: "intx" | "msi" | "msix"; readonly vector: number }
	/** The guest chose how the function interrupts. */
	| { readonly type: "interrupt-mode"; readonly mode: InterruptMode }
	/** Direct access to BARs is on, or off while INTx is being served. */
	| { readonly type: "mapped"; readonly on: boolean }
	/** A BAR decodes at another place, or nowhere. */
	| { readonly type: "bar-placed"; readonly bar: number; readonly address: bigint | undefined }
	/**
	 * Whoever maps a BAR for others' DMA has to do so anew: the guest has reset the device, which ends what was exported of
	 * its BARs, and they decode as before.
	 */
	| { readonly type: "exports-revoked" }
	/**
	 * The host wants the device back, and asked `count` times so far. `ask`: have the guest let go of it. `force`: the guest
	 * has lost it, take it out and close it. `ignore`: it stays.
	 */
	| { readonly type: "device-requested"; readonly count: number; readonly action: RequestAction }
	/** The device reported an error that the host cannot correct (AER): stop using it. */
	| { readonly type: "device-error" }
	/** The function was reset. */
	| { readonly type: "reset"; readonly report: ResetReport }
	/** Something failed that the guest cannot be told; a sentence with the device's name. */
	| { readonly type: "report"; readonly message: string };

/** Those who want to know. Telling nobody costs nothing. */
export class FunctionEvents {
	readonly #listeners = new Set<(event: FunctionEvent) => void>();

	/** Whether anybody listens: look before making an event on a hot path. */
	get wanted(): boolean {
		return this.#listeners.size > 0;
	}

	/** @returns dispose it to stop listening */
	subscribe(listener: (event: FunctionEvent) => void): Disposable {
		// A set compares functions, so that each subscription needs one of its own.
		const own = (event: FunctionEvent) => listener(event);
		this.#listeners.add(own);
		return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
	}

	/** Tells everybody. */
	tell(event: FunctionEvent): void {
		for (const listener of this.#listeners) listener(event);
	}
}
