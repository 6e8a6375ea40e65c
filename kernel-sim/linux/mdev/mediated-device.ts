/**
 * What a mediated device is made of: the calls that VFIO's core passes on to its driver.
 *
 * @module
 */
import type { Clock } from "../../../core/kernel.ts";
import type { IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { RegionMapping } from "../region-mapping.ts";
import type { DeviceFeatures } from "../vfio/device-feature.ts";
import type { EmulatedDma } from "../vfio/emulated-dma.ts";

/** What the kernel gives to a mediated device when it is made. */
export interface MediatedContext {
	/** Its UUID: what faults and messages call it. */
	readonly name: string;
	readonly clock: Clock;
	/** Whose answers the kernel gives where kernels differ. */
	readonly version: "6.12" | "7.2";
}

/**
 * One mediated device, from its creation to its removal. Calls answer as Linux's do: 0 or more, or a negative errno.
 *
 * This is the whole of VFIO's interface, for a device with habits of its own. Who only has registers, interrupts and DMA
 * writes a {@link DeviceModel} and offers it through {@link mediatedPciDevice}.
 *
 * @example
 * ```ts
 * class Counter implements MediatedDevice {
 *   #reads = 0;
 *   ioctl(_process: SimProcess, _request: number, _argument: IoctlArgument): number {
 *     return -25; // ENOTTY: it says nothing of regions and interrupts
 *   }
 *   read(_offset: number, into: Uint8Array): number {
 *     into.fill(0);
 *     into[0] = ++this.#reads;
 *     return into.length;
 *   }
 *   write(_offset: number, from: Uint8Array): number {
 *     return from.length;
 *   }
 * }
 * const types = [{ name: "counter", create: () => new Counter() }];
 * const linux = new SimulatedLinux({ host: Host.reference(), mediated: [{ name: "sample", instances: 1, types }] });
 * const kernel = linux.process();
 * const type = "/sys/class/mdev_bus/sample/mdev_supported_types/sample-counter";
 * kernel.writeFile(`${type}/create`, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
 * kernel.readDirectory("/sys/bus/mdev/devices"); // ["83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"]
 * ```
 */
export interface MediatedDevice extends DeviceFeatures {
	/** The first descriptor is made. @param dma how its driver reaches the user's memory @returns 0 or -errno */
	open?(dma: EmulatedDma): number;
	/** The last descriptor, and the last mapping, has gone. */
	close?(): void;
	/** A request on the device's descriptor that VFIO's core does not answer itself. */
	ioctl(process: SimProcess, request: number, argument: IoctlArgument): number;
	/** pread(2). @param offset bytes in the device's file */
	read(offset: number, into: Uint8Array): number;
	/** pwrite(2). @param offset bytes in the device's file */
	write(offset: number, from: Uint8Array): number;
	/** mmap(2), always of shared memory; -EINVAL without it. */
	mmap?(file: OpenFile, length: number, protection: number, offset: number): RegionMapping | number;
	/** Somebody wants to remove the device while it is open: at once, and every ten seconds. */
	wanted?(count: number): void;
	/** It is removed: it was closed before. */
	remove?(): void;
}
