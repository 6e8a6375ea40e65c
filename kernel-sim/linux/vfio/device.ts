/**
 * What VFIO's core needs of a device driver, and the core's record of each device.
 *
 * @module
 */

import type { BusDevice } from "../device.ts";
import type { IommufdBinding } from "../iommufd/binding.ts";
import type { IommufdFile } from "../iommufd/file.ts";
import type { VfioDeviceFile } from "./device-file.ts";
import type { EmulatedDma } from "./emulated-dma.ts";
import type { RegisteredDevice } from "./registered-device.ts";

/** A device that a VFIO driver such as vfio-pci offers to its group. */
export interface VfioDeviceOps {
	/** Such as `0000:05:00.0`. */
	readonly name: string;
	/** The bus device behind it. */
	readonly device: BusDevice;
	/**
	 * The first open.
	 *
	 * @param dma the container's, for a driver that reaches memory in the device's place; undefined when the device was bound
	 *   to an open /dev/iommu
	 * @returns 0, or -errno
	 */
	open(dma?: EmulatedDma): number;
	/** The last file is gone. */
	close(): void;
	/**
	 * The file for a new descriptor. All files share the one open device; the core learns of each one's release by itself.
	 *
	 * @param record the core's of this device
	 */
	file(record: RegisteredDevice): VfioDeviceFile;
	/**
	 * Whether a VFIO_GROUP_GET_DEVICE_FD string names this device. Called before the device is opened.
	 *
	 * @returns -errno when it does but its options are wrong
	 */
	match(name: string): "yes" | "no" | number;
	/**
	 * Whether the device may be bound to an open /dev/iommu with this token, or with none; none may be given when left out.
	 *
	 * @param token a UUID as text
	 * @returns 0 or -errno
	 */
	checkToken?(token: string | undefined): number;
	/**
	 * Binds the device to an open /dev/iommu, before its first open. A device behind an IOMMU when left out.
	 *
	 * @returns -errno when it cannot be
	 */
	bindIommufd?(file: IommufdFile): IommufdBinding | number;
	/** The driver wants the device back: called when an unbind starts to wait, and every ten seconds while it waits. */
	request?(count: number): void;
}
