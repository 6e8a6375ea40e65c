import { editDistance, nearestName } from "../../core/host/nearest.ts";

/**
 * The known word nearest to a mistyped one, or undefined when none is near enough to be meant.
 *
 * @example
 * ```ts
 * nearest("interupt", ["interrupt", "json"]); // "interrupt"
 * ```
 */
export function nearest(word: string, known: readonly string[]): string | undefined {
	const candidate = nearestName(word, known);
	if (candidate === undefined) return undefined;
	return editDistance(word, candidate) <= Math.max(2, Math.floor(word.length / 3)) ? candidate : undefined;
}
