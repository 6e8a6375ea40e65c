/**
 * What a device is opened from, and how.
 *
 * @module
 */
import type { Ioas } from "../iommu/ioas.ts";
import type { Iommufd } from "../iommu/iommufd.ts";
import type { Container } from "./container.ts";
import type { Group } from "./group.ts";
import type { IoAddressSpace } from "./io-address-space.ts";
import type { DeviceKind } from "./kind.ts";

/** A device that somebody else has opened. */
export interface PassedDevice {
	/** A descriptor of `/dev/vfio/devices/vfio<N>` that is not bound to an iommufd yet. */
	readonly fd: number;
	/** What the device is called here; what the kernel says, when left out. */
	readonly name?: string;
}

/** How a device is opened. */
export interface OpenOptions {
	/** The container its group joins; a new one when left out. Not together with `addressSpace`. */
	readonly container?: Container;
	/** Its group, as somebody else has opened it. It is found in sysfs when left out. */
	readonly group?: Group;
	/** The device is opened by its character device, and bound to this. */
	readonly iommufd?: Iommufd;
	/** The address space of iommufd that the device goes into. Not together with `addressSpace`. */
	readonly ioas?: Ioas;
	/** Where its DMA goes: into the first of the containers, or address spaces of iommufd, that takes it, or a new one. */
	readonly addressSpace?: IoAddressSpace;
	/** The UUID that a virtual function's physical function was given, where that is assigned as well. */
	readonly vfToken?: string;
	/** Take a device without an IOMMU as well: its DMA goes to physical addresses, and nothing protects memory from it. */
	readonly noIommu?: boolean;
	/**
	 * Guest memory may be discarded while the device is open, since its driver pins what it uses: for mediated devices only,
	 * and the same for all of a group. (`x-balloon-allowed`)
	 */
	readonly discardAllowed?: boolean;
	/** What the device has to be; `pci` when left out. The kernel says which it is, not its path. */
	readonly kind?: DeviceKind;
	/** Learns of accesses that failed, and of what is done otherwise than it was asked for. */
	readonly onReport?: (message: string) => void;
}
