/**
 * What vfio-pci is made with.
 *
 * @module
 */
import type { Machine } from "../../hardware/topology.ts";
import type { ModuleParameters } from "../parameters.ts";

/** What vfio-pci is made with. */
export interface VfioPciOptions {
	readonly machine: Machine;
	/** Which kernel's answers it gives, where they differ. */
	readonly version: "6.12" | "7.2";
	/** Those of the module `vfio_pci` are read when they matter. */
	readonly parameters: ModuleParameters;
	/** The kernel knows of character devices; false when left out. */
	readonly iommufd?: boolean;
}
