/**
 * What a device model is: a small class with registers, which reaches the world through one port.
 *
 * @module
 */
import type { AccessWidth, Clock } from "../../core/kernel.ts";
import type { VirtualFunction } from "./sriov.ts";

/** The address space a BAR decodes, and how wide its register is. */
export type BarKind = "mem32" | "mem64" | "io";

/** One Base Address Register of a function (PCI Local Bus 3.0, section 6.2.5). */
export interface BarDescription {
	/** 0 to 5; a `mem64` BAR also takes the next one. */
	readonly index: number;
	readonly kind: BarKind;
	/** Bytes, a power of two: at least 16 for memory and 4 for I/O ports. */
	readonly size: number;
	readonly prefetchable?: boolean;
	/** `memory`: plain bytes whose accesses nobody needs to see. `registers`: every access goes to the model. */
	readonly backing: "memory" | "registers";
}

/** Where the MSI-X table and the pending bits are (PCI Local Bus 3.0, section 6.8.2). */
export interface MsixDescription {
	/** 1 to 2048. */
	readonly vectors: number;
	/** `offset` in bytes, a multiple of 8. */
	readonly table: { readonly bar: number; readonly offset: number };
	readonly pba: { readonly bar: number; readonly offset: number };
}

/**
 * The behaviour behind a function's registers.
 *
 * @example
 * ```ts
 * class Doorbell implements DeviceModel {
 *   #port: DevicePort | undefined;
 *   #rings = 0;
 *   attach(port: DevicePort): void {
 *     this.#port = port;
 *   }
 *   read(_bar: number, offset: number): number {
 *     return offset === 0 ? this.#rings : 0;
 *   }
 *   write(_bar: number, offset: number): void {
 *     if (offset !== 0) return;
 *     this.#rings++;
 *     if (!this.#port?.signal(0)) this.#port?.setIntx(true);
 *   }
 *   reset(): void {
 *     this.#rings = 0;
 *   }
 * }
 * ```
 */
export interface DeviceModel {
	/** Called once, when the function is plugged: the model keeps the port. */
	attach(port: DevicePort): void;
	/** @param offset bytes, inside the BAR and outside the MSI-X table and pending bits @returns the value, unsigned */
	read(bar: number, offset: number, width: AccessWidth): number;
	write(bar: number, offset: number, width: AccessWidth, value: number): void;
	/** A 64-bit access; without it the function makes two 32-bit ones, the lower first. */
	read64?(bar: number, offset: number): bigint;
	write64?(bar: number, offset: number, value: bigint): void;
	/** Back to the power-on state: function level reset, bus reset, D3hot to D0 without No_Soft_Reset. */
	reset(): void;
	/** The function is gone: give back files and timers. */
	detach?(): void;
	/**
	 * What virtual function `index` of a physical function with SR-IOV is; asked when software enables them. Without it they
	 * have memory behind their BARs.
	 */
	virtualFunction?(index: number): VirtualFunction;
}

/** How a model reaches the world. */
export interface DevicePort {
	readonly clock: Clock;
	/**
	 * DMA through the IOMMU.
	 *
	 * @returns false when the access faulted (the IOMMU has recorded it) or the function may not be a bus master
	 */
	dmaRead(address: bigint, into: Uint8Array): boolean;
	/** The same in the other direction. A write to 0xfee00000-0xfeefffff is an interrupt message. */
	dmaWrite(address: bigint, from: Uint8Array): boolean;
	/** The level of the INTx pin. */
	setIntx(asserted: boolean): void;
	/**
	 * Sends message `vector` by MSI-X or MSI, whichever is enabled. A masked vector becomes pending and is sent when it is
	 * unmasked.
	 *
	 * @returns false when neither is enabled: then {@link setIntx} is the way
	 */
	signal(vector: number): boolean;
	readonly interruptMode: "intx" | "msi" | "msix";
}
