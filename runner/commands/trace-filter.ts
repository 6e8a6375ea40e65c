import { UsageError } from "../cli/usage-error.ts";

/**
 * Which system calls `--trace` wants.
 *
 * @param names call names or patterns with `*`, separated by commas, or `all`
 * @returns undefined when nothing is traced
 */
export function traceFilter(names: string | undefined): ((name: string) => boolean) | undefined {
	if (names === undefined) return undefined;
	const words = names.split(",").map((word) => word.trim());
	if (words.some((word) => !/^[\w*]+$/.test(word)))
		throw new UsageError(
			`Option "--trace" takes names such as open or VFIO_IOMMU_*, separated by commas, or all; not "${names}"`,
		);
	const patterns = words.map((word) => new RegExp(`^${word === "all" ? ".*" : word.replaceAll("*", ".*")}$`, "i"));
	return (name) => patterns.some((pattern) => pattern.test(name));
}
