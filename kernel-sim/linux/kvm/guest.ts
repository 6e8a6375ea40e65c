/**
 * Who stands in for a guest: the simulation has no processor that would run one.
 *
 * @module
 */

/** What KVM delivers to a guest. Called inside the call that causes it. */
export interface KvmGuest {
	/** An MSI, at a local interrupt controller. */
	message?(address: bigint, data: number): void;
	/** A pin of an interrupt controller has another level. @param chip 0 and 1: the PICs, 2: the I/O APIC */
	line?(chip: number, pin: number, asserted: boolean): void;
}
