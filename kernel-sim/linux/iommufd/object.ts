/**
 * What the numbers of /dev/iommu stand for.
 *
 * @module
 */

/** Something that a program names by a number. */
export abstract class IommufdObject {
	/** 1 or more. */
	id = 0;
	/** What refers to it: while there is anything, it cannot be destroyed. */
	users = 0;

	/** Gives back what it holds. It is no longer in its context. */
	abstract destroy(): void;
}
