/**
 * Drivers of mediated devices: which types of device they make, and of which parent.
 *
 * @module
 */
import type { MediatedContext, MediatedDevice } from "./mediated-device.ts";

/** A type of mediated device: a directory in `mdev_supported_types`. */
export interface MediatedType {
	/** What follows the driver's name and a dash, such as `1` of `mtty-1`. */
	readonly name: string;
	/** The attribute `name`, for people; its directory's name when left out. */
	readonly title?: string;
	/** The attribute `description`; there is none when left out. */
	readonly description?: string;
	/** The attribute `device_api`; `vfio-pci` when left out. */
	readonly api?: string;
	/** How many more there can be, where that is the driver's to say. */
	available?(): number;
	/** Makes one. @returns -errno when it cannot be made, such as -ENOSPC when something of the driver's has run out */
	create(context: MediatedContext): MediatedDevice | number;
}

/**
 * A driver that makes mediated devices, and the one parent device it makes them of.
 */
export interface MediatedDriver {
	/** Of the driver and its module; types are called after it. */
	readonly name: string;
	/** Of the parent device; the driver's name when left out. */
	readonly parent?: string;
	readonly types: readonly MediatedType[];
	/** How many devices there can be in all, counted by the bus (EUSERS); types count for themselves when left out. */
	readonly instances?: number;
}
