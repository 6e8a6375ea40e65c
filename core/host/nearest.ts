/**
 * What somebody who wrote an address that does not exist may have meant.
 *
 * @module
 */

/** How many characters must be changed, added or removed to make one text of the other (Levenshtein). */
export function editDistance(a: string, b: string): number {
	let row = Array.from({ length: b.length + 1 }, (_, column) => column);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++) {
			const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
			next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
		}
		row = next;
	}
	return row[b.length] as number;
}

/** The one of `names` that is most like `name`, the first of several; undefined when there are none. */
export function nearestName(name: string, names: readonly string[]): string | undefined {
	let best: string | undefined;
	let least = Number.POSITIVE_INFINITY;
	for (const candidate of names) {
		const distance = editDistance(name, candidate);
		if (distance < least) [best, least] = [candidate, distance];
	}
	return best;
}
