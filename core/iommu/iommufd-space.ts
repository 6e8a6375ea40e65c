/**
 * An address space of iommufd, as what belongs to it knows it.
 *
 * @module
 */
import type { Iommu } from "./iommu.ts";
import type { Iommufd } from "./iommufd.ts";

/** {@link Ioas} is one. */
export interface IommufdSpace extends Iommu {
	readonly iommufd: Iommufd;
	/** Its number in the iommufd. */
	readonly id: number;
}
