/**
 * The option that makes an iommufd object, as QEMU writes it.
 *
 * @module
 */
import { parseId, parseNumber, parseProperties } from "./properties.ts";
import { UsageError } from "./usage-error.ts";

/** What `-object iommufd,…` asks for. */
export interface IommufdOption {
	/** How devices refer to it. Those with the same object have one address space, and others are apart from them. */
	readonly id: string;
	/** `/dev/iommu` as somebody else has opened it; opened here when left out. */
	readonly fd?: number;
}

/**
 * Parses the value of `-object`.
 *
 * @example
 * ```ts
 * parseIommufdOption("iommufd,id=iommu0,fd=5"); // { id: "iommu0", fd: 5 }
 * ```
 * @throws UsageError naming the part that is wrong
 */
export function parseIommufdOption(text: string): IommufdOption {
	const { driver, properties } = parseProperties("-object", text, ["id", "fd"]);
	if (driver !== "iommufd")
		throw new UsageError(`Cannot use object "${driver}": -object takes iommufd,id=ID[,fd=DESCRIPTOR]`);
	const id = properties.get("id");
	if (id === undefined) throw new UsageError(`-object ${text} has no id: add id=ID, which devices refer to`);
	const fd = properties.get("fd");
	return { id: parseId(id), ...(fd === undefined ? {} : { fd: parseNumber("fd", fd, 0x7fffffff) }) };
}
