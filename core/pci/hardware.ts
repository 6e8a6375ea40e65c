/**
 * What an assigned function needs of an opened device. `VfioDevice` has it; so has anything else that behaves like one.
 *
 * @module
 */
import type { HotResetDevice } from "../device/hot-reset.ts";
import type { Irq } from "../device/irq.ts";
import type { Region } from "../device/region.ts";
import type { MapOptions } from "../device/write-combining.ts";
import type { AccessWidth, Kernel, Mapping } from "../kernel.ts";
import type { DmaBuf } from "../machine/machine.ts";

/** A device that a hot reset would reset; its name is what counts here, wherever it is. */
export type HotResetMember = Omit<HotResetDevice, "address">;

/** An opened VFIO device, as far as {@link AssignedFunction} uses it. */
export interface AssignableDevice {
	readonly kernel: Kernel;
	/** Such as `0000:05:00.0`. */
	readonly name: string;
	/** `VFIO_DEVICE_RESET` works. */
	readonly resettable: boolean;
	/** Learns of accesses that failed. */
	onReport: (message: string) => void;
	region(index: number): Region;
	irq(index: number): Irq;
	/** @returns all ones when it failed, which is reported */
	readRegion(index: number, offset: number, width: AccessWidth): number;
	writeRegion(index: number, offset: number, width: AccessWidth, value: number): void;
	readRegion64(index: number, offset: number): bigint;
	writeRegion64(index: number, offset: number, value: bigint): void;
	/** @returns how many bytes; fewer at the end of the region, or when a read failed, which is reported */
	readBytes(index: number, offset: number, into: Uint8Array): number;
	/** @throws VfioError `mapping-failed`; `write-combining-refused` when that is required */
	mapRegion(index: number, offset?: number, length?: number, options?: MapOptions): Mapping;
	/** Exports a part of a BAR; left out by what cannot. @throws VfioError as `VfioDevice.exportDmaBuf` */
	exportDmaBuf?(index: number, offset: number, length: number): DmaBuf;
	/** @returns 0; or how many vectors the host can give, when these were too many. @throws VfioError `interrupt-failed` */
	setEventfds(index: number, start: number, fds: readonly number[]): number;
	/** @param fd -1 for none @throws VfioError `interrupt-failed` */
	setEventfd(index: number, vector: number, fd: number): void;
	/** @throws VfioError `interrupt-failed` */
	disableIrq(index: number): void;
	/** @throws VfioError `interrupt-failed` */
	unmaskIrq(index: number): void;
	/** INTx only. @throws VfioError `interrupt-failed` */
	maskIrq(index: number): void;
	/** Has an eventfd unmask INTx; -1 for none any more. @throws VfioError `interrupt-failed` */
	setUnmaskEventfd(fd: number): void;
	/** Has an eventfd write a register; -1 for none any more. @throws VfioError `kernel` */
	setIoeventfd(index: number, offset: number, width: AccessWidth, value: number, fd: number): void;
	/** @throws VfioError `reset-failed` */
	reset(): void;
	/** @throws VfioError `reset-failed` */
	hotResetInfo(): readonly HotResetMember[];
	/** @throws VfioError `reset-failed` */
	hotReset(): void;
}
