/**
 * What iommufd finds on this host.
 *
 * @module
 */
import type { Type1Platform } from "../vfio/type1.ts";
import type { UserAccounts } from "./accounts.ts";
import type { IommufdContext } from "./context.ts";

/** The host as iommufd sees it, and what all of its files share. */
export interface IommufdPlatform extends Type1Platform {
	/** The IOMMU notes in its page tables what devices write to. */
	readonly dirtyTracking: boolean;
	/** /dev/vfio/vfio is this too (CONFIG_IOMMUFD_VFIO_CONTAINER). */
	readonly standsForContainers: boolean;
	/** The kernel gives devices without an IOMMU to who wants them (CONFIG_VFIO_NOIOMMU). */
	readonly noIommu: boolean;
	/** CAP and ECAP of the IOMMU (Intel VT-d 4.1, sections 11.4.2 and 11.4.3). */
	readonly registers: { readonly cap: bigint; readonly ecap: bigint };
	/** Memory that users have locked through it. */
	readonly users: UserAccounts;
	/** Files that are open, or that an open device is bound to. */
	readonly contexts: Set<IommufdContext>;
}
