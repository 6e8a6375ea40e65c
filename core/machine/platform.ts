/**
 * The machine seam for platform devices: what a VMM gives to one (places for its regions, interrupt lines) and what it
 * gets.
 *
 * @module
 */
import type { AccessWidth } from "../kernel.ts";
import type { DirectArea } from "./machine.ts";

/** Where one interrupt of a platform device leads. */
export interface PlatformLine {
	/** The level of the line. For an edge-triggered interrupt it is the going up that counts. */
	set(asserted: boolean): void;
	/**
	 * Has somebody else drive the line, such as KVM: each signal of `trigger` raises it, and where there is a `resample`, the
	 * guest's end of interrupt lowers it and signals that (`KVM_IRQFD`).
	 *
	 * @param trigger and resample are eventfds; no `resample` for an edge
	 * @returns dispose it to disconnect them; undefined when that is not possible for this line
	 * @throws when KVM refuses
	 */
	connectEventfd?(trigger: number, resample: number | undefined): Disposable | undefined;
}

/** Where a platform device is. A machine makes one for each device it takes. */
export interface PlatformSlot {
	/** What {@link GuestPlatformDevice.directAreas} answers for this region has changed: read it again. */
	directAreasChanged?(region: number): void;
}

/** A block of registers or memory that a machine places in guest-physical memory. */
export interface GuestPlatformRegion {
	readonly index: number;
	/** Bytes. */
	readonly size: number;
	/** Writes have no effect. */
	readonly readOnly: boolean;
}

/** An interrupt that a machine connects to a line. */
export interface GuestPlatformInterrupt {
	readonly index: number;
	readonly trigger: "edge" | "level";
}

/** A platform device that a machine can take. Nothing it does on a guest's behalf throws. */
export interface GuestPlatformDevice extends Disposable {
	/** How reports and traces call it, such as `fff51000.ethernet`. */
	readonly name: string;
	readonly regions: readonly GuestPlatformRegion[];
	readonly interrupts: readonly GuestPlatformInterrupt[];
	/** The machine calls it once, before any access. It does not interrupt yet. */
	plug(slot: PlatformSlot): void;
	/** The interrupt leads somewhere from now on, and only now begins. @throws VfioError `interrupt-failed` */
	connectLine(index: number, line: PlatformLine): void;
	/** It leads nowhere any more. */
	disconnectLine(index: number): void;
	/** The machine calls it when the device is taken out; the slot and the lines are not used afterwards. */
	unplug(): void;
	/** @param offset bytes in the region @returns unsigned; all ones when the device does not answer */
	read(region: number, offset: number, width: AccessWidth): number;
	/** A 64-bit access. @param offset bytes in the region */
	read64(region: number, offset: number): bigint;
	/** @param offset bytes in the region */
	write(region: number, offset: number, width: AccessWidth, value: number): void;
	/** A 64-bit access. @param offset bytes in the region */
	write64(region: number, offset: number, value: bigint): void;
	/** What may be mapped into a guest at this moment, in order of `start`. */
	directAreas(region: number): readonly DirectArea[];
	/**
	 * The guest has ended this interrupt. A machine that cannot see that never calls it, and the device takes an access to a
	 * region for it.
	 */
	endOfInterrupt?(index: number): void;
	/** The machine was reset: back to power-on state, as far as the host can do that. */
	reset(): void;
}
