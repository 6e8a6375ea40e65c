/**
 * Sizes for people.
 *
 * @module
 */

/** Bytes as a person writes them: `16 MiB`, `1464 bytes`. */
export function formatBytes(bytes: bigint): string {
	for (const [unit, shift] of [
		["GiB", 30n],
		["MiB", 20n],
		["KiB", 10n],
	] as const)
		if (bytes > 0n && bytes % (1n << shift) === 0n) return `${bytes >> shift} ${unit}`;
	return `${bytes} byte${bytes === 1n ? "" : "s"}`;
}
