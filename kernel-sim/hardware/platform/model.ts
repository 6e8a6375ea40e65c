/**
 * What a model of a platform device is: a small class with registers, which reaches the world through one port.
 *
 * @module
 */
import type { AccessWidth, Clock } from "../../../core/kernel.ts";

/**
 * The behaviour behind a platform device's registers.
 *
 * @example
 * ```ts
 * class Doorbell implements PlatformModel {
 *   #port: PlatformPort | undefined;
 *   #rings = 0;
 *   attach(port: PlatformPort): void {
 *     this.#port = port;
 *   }
 *   read(_region: number, offset: number): number {
 *     return offset === 0 ? this.#rings : 0;
 *   }
 *   write(_region: number, offset: number): void {
 *     if (offset === 0) this.#rings++;
 *     this.#port?.setLine(0, offset === 0); // any other register lowers it
 *   }
 *   reset(): void {
 *     this.#rings = 0;
 *     this.#port?.setLine(0, false);
 *   }
 * }
 * ```
 */
export interface PlatformModel {
	/** Called once, when the device is plugged: the model keeps the port. */
	attach(port: PlatformPort): void;
	/** @param offset bytes, inside the region @returns the value, unsigned */
	read(region: number, offset: number, width: AccessWidth): number;
	write(region: number, offset: number, width: AccessWidth, value: number): void;
	/** Back to the power-on state. */
	reset(): void;
	/** The device is gone: give back files and timers. */
	detach?(): void;
}

/** How a model reaches the world. */
export interface PlatformPort {
	readonly clock: Clock;
	/** DMA through the IOMMU. @returns false when the access faulted; the IOMMU has recorded it */
	dmaRead(address: bigint, into: Uint8Array): boolean;
	/** The same in the other direction. */
	dmaWrite(address: bigint, from: Uint8Array): boolean;
	/** The level of an interrupt line. @param index as in the description */
	setLine(index: number, asserted: boolean): void;
	/** Up and down again: what an edge-triggered line wants. */
	pulse(index: number): void;
}
