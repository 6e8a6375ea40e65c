/**
 * What INTx, MSI and MSI-X need of the function they belong to.
 *
 * @module
 */
import type { Reporter } from "../attempt.ts";
import type { KvmBypass } from "../machine/kvm-bypass.ts";

/** Given to each kind of interrupt. */
export interface InterruptHost extends Reporter {
	/** KVM, where the machine has it and interrupts of this kind may go past us. */
	kvm(kind: "intx" | "msi" | "msix"): KvmBypass | undefined;
	/** The function's pin: 1 to 4, or 0. */
	readonly pin: number;
	/** Delivers a message to the guest. @param vector for traces */
	message(kind: "msi" | "msix", vector: number, address: bigint, data: number): void;
	/** The level of the function's INTx pin. */
	setPin(asserted: boolean): void;
	/** Direct access to BARs is wanted, or not, while INTx waits for its end of interrupt. */
	setMapped(mapped: boolean): void;
	/** Some MSI-X vector is pending, or none is any more. */
	pendingChanged(any: boolean): void;
}
