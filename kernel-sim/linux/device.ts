/**
 * A device of whatever bus: what IOMMU groups, VFIO and sysfs need to know of it.
 *
 * @module
 */
import type { DmaSource } from "../hardware/dma-source.ts";
import type { IommuGroup } from "./iommu-group.ts";

/** A device as Linux's driver core has it, on the PCI bus or on another. */
export interface BusDevice {
	/** As its bus lists it, such as `0000:05:00.0`. */
	readonly name: string;
	/** Its directory in sysfs, such as `/sys/devices/pci0000:00/0000:00:1c.0/0000:05:00.0`. */
	readonly syspath: string;
	/** Absent where no IOMMU stands between it and memory. */
	readonly group: IommuGroup | undefined;
	/** Whose DMA the IOMMU sees; undefined for a device that does none of its own. */
	readonly dma: DmaSource | undefined;
}
