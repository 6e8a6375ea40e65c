/**
 * What an assigned platform device needs of an opened device. `VfioDevice` has it.
 *
 * @module
 */
import type { AssignableDevice } from "../pci/hardware.ts";

/** An opened VFIO device, as far as `PlatformDevice` uses it. */
export interface AssignablePlatformDevice
	extends Omit<AssignableDevice, "setEventfds" | "setUnmaskEventfd" | "hotReset" | "hotResetInfo" | "readBytes"> {
	/** Regions have the indices below this one. */
	readonly regionCount: number;
	/** Interrupts have the indices below this one. */
	readonly irqCount: number;
	/** Has an eventfd unmask an interrupt; -1 for none any more. @throws VfioError `interrupt-failed` */
	setUnmaskEventfd(fd: number, index: number): void;
}
