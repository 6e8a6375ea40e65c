/**
 * Whose DMA it is.
 *
 * @module
 */

/** Whoever does DMA that the IOMMU can tell from others': a PCI function, or a platform device. */
export interface DmaSource {
	/** As faults call it, such as `0000:05:00.0`. */
	readonly name: string;
}
