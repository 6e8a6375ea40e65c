/**
 * What binding a device to an open /dev/iommu gives, whatever kind of device it is.
 *
 * @module
 */
import type { IommufdFile } from "./file.ts";

/** A bound device. */
export interface IommufdBinding {
	/** Its number among the file's objects. */
	readonly id: number;
	/** What it is bound to. It stays open for as long. */
	readonly file: IommufdFile;
	/**
	 * VFIO_DEVICE_ATTACH_IOMMUFD_PT: an address space or a page table becomes the device's, in place of what it has.
	 *
	 * @returns the number that stands for what it is attached to, or -errno with everything as it was
	 */
	attach(id: number): number;
	/** The same for one process address space of the device; absent where devices cannot have any. @returns 0 or -errno */
	attachPasid?(id: number, pasid: number): number;
	/** VFIO_DEVICE_DETACH_IOMMUFD_PT. Nothing happens when it is not attached. */
	detach(): void;
	/** The device was closed: detaches it and gives up its number. */
	unbind(): void;
}
