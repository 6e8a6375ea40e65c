/**
 * A device as iommufd knows it.
 *
 * @module
 */

/** A device that is bound to an iommufd. */
export interface BoundDevice {
	readonly name: string;
	/** Its own file. */
	readonly fd: number;
	/** Its id in the iommufd. */
	readonly devid: number;
	/** Its IOMMU group, where sysfs says it. */
	readonly groupId: number | undefined;
}
