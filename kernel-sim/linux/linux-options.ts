/**
 * How a simulated Linux was built and started.
 *
 * @module
 */
import type { SimClock } from "../clock.ts";
import type { Host } from "../host.ts";
import type { MediatedDriver } from "./mdev/driver.ts";
import type { ParameterValues } from "./parameters.ts";

/** Options of `SimulatedLinux`. */
export interface LinuxOptions {
	readonly host: Host;
	/** Whose answers it gives where kernels differ; 6.12 when left out. */
	readonly version?: "6.12" | "7.2";
	/** Time for the kernel and the host's devices; the machine's own clock when that is virtual, else a new one, when left out. */
	readonly clock?: SimClock;
	/** Module parameters, such as `{ vfio_iommu_type1: { dma_entry_limit: 2 } }`. */
	readonly parameters?: ParameterValues;
	/** The modules of VFIO are loaded; true when left out. Without them there is neither vfio-pci nor /dev/vfio/vfio. */
	readonly vfio?: boolean;
	/** The kernel has /dev/iommu and VFIO's character devices (CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV); true when left out. */
	readonly iommufd?: boolean;
	/** The kernel has the mode for devices without an IOMMU (CONFIG_VFIO_NOIOMMU), which a parameter turns on; true when left out. */
	readonly noIommu?: boolean;
	/**
	 * What /dev/vfio/vfio is: VFIO's own containers when left out; or /dev/iommu under another name, as in a kernel with
	 * CONFIG_IOMMUFD_VFIO_CONTAINER.
	 */
	readonly containers?: "type1" | "iommufd";
	/** Drivers of mediated devices, such as {@link mtty}; none when left out. */
	readonly mediated?: readonly MediatedDriver[];
	/** The IOMMU can force DMA to be coherent with the caches (VFIO_DMA_CC_IOMMU); false when left out, as in QEMU's VT-d. */
	readonly snoopControl?: boolean;
	/**
	 * What a driver has of a device cannot be mapped through sysfs (CONFIG_IO_STRICT_DEVMEM); true when left out, as in
	 * distributions.
	 */
	readonly strictIoMemory?: boolean;
	/** There is /dev/kvm; true when left out. */
	readonly kvm?: boolean;
	/** The IOMMU notes in its page tables what devices write to (IOMMU_HWPT_ALLOC_DIRTY_TRACKING); false when left out, as in QEMU's VT-d. */
	readonly dirtyTracking?: boolean;
}
