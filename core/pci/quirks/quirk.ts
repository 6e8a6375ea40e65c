/**
 * Registers of a BAR that are a back door to what a guest must not reach directly, and who answers in their place.
 *
 * @module
 */
import type { AccessWidth } from "../../kernel.ts";
import type { GuestBar } from "../../machine/machine.ts";
import type { Stretch } from "../msix-areas.ts";

/** What a quirk works with. */
export interface QuirkHost {
	/** Reads the device's own register, through the kernel. @returns all ones when that fails */
	read(bar: number, offset: number, width: AccessWidth): number;
	/** Writes the device's own register, through the kernel. */
	write(bar: number, offset: number, width: AccessWidth, value: number): void;
	/**
	 * The same for a write that means nothing to anybody but the device. One that is repeated often goes past this process
	 * from then on, where the machine has KVM.
	 */
	passWrite(bar: number, offset: number, width: AccessWidth, value: number): void;
	/** Configuration space as the guest sees it. */
	configRead(offset: number, width: AccessWidth): number;
	/** A write to configuration space, with all that follows from it. */
	configWrite(offset: number, width: AccessWidth, value: number): void;
	/** A dword of the guest's MSI-X table. @returns all ones when there is none */
	tableRead(offset: number): number;
	/** Writes a dword of the guest's MSI-X table, as if it were written in its BAR. */
	tableWrite(offset: number, value: number): void;
}

/** Answers a guest's accesses to its stretches. Every access is wholly inside one of them; nothing may throw. */
export interface BarQuirk {
	read(bar: number, offset: number, width: AccessWidth): number;
	write(bar: number, offset: number, width: AccessWidth, value: number): void;
	/** The device was reset: forget what the guest had selected. */
	reset(): void;
}

/** A part of a BAR that a quirk watches over. It is trapped always. */
export interface QuirkStretch extends Stretch {
	/** 0 to 5; or 8, VFIO's region of legacy VGA, in which a port is at its own number. */
	readonly bar: number;
}

/** What a quirk can know of its device. */
export interface QuirkDevice {
	/** 24 bits. */
	readonly classCode: number;
	/** Bytes: 256 or 4096. */
	readonly configSize: number;
	/** Where the MSI capability is. */
	readonly msi: number | undefined;
	/** The guest has legacy VGA of the device. */
	readonly vga: boolean;
}

/** One quirk of a device: where, and who answers. */
export interface QuirkPlace {
	readonly stretches: readonly QuirkStretch[];
	create(host: QuirkHost): BarQuirk;
}

/** The quirks of a kind of device. */
export interface DeviceQuirk {
	/** For plans and reasons, such as `RTL8168 MSI-X back door`. */
	readonly name: string;
	/** Whether a device has it. */
	matches(vendor: number, device: number): boolean;
	/** Where, in a device with these BARs; none when it is not built as expected. */
	places(bars: readonly GuestBar[], device: QuirkDevice): readonly QuirkPlace[];
}
