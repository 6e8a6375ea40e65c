/**
 * What vfio-pci is made with.
 *
 * @module
 */
import type { Machine } from "../../hardware/topology.ts";
import type { PciDevice } from "../driver.ts";
import type { IommuGroup } from "../iommu-group.ts";
import type { ModuleParameters } from "../parameters.ts";

/** Groups of devices that no IOMMU stands before. */
export interface NoIommuGroups {
	/** @returns undefined while the mode is not switched on */
	add(device: PciDevice): IommuGroup | undefined;
	remove(device: PciDevice, group: IommuGroup): void;
}

/** What vfio-pci is made with. */
export interface VfioPciOptions {
	readonly machine: Machine;
	/** Which kernel's answers it gives, where they differ. */
	readonly version: "6.12" | "7.2";
	/** Those of the module `vfio_pci` are read when they matter. */
	readonly parameters: ModuleParameters;
	/** Makes groups for devices without an IOMMU; absent where the kernel cannot give those to users. */
	readonly noIommu?: NoIommuGroups;
}
