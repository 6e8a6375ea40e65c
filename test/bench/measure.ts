/** One measured operation. */
export interface Measurement {
	readonly name: string;
	/** Median of the rounds, in nanoseconds an operation. */
	readonly ns: number;
	/** How far the slowest and fastest round are apart, relative to the median. */
	readonly spread: number;
	/** What one operation is, when it is not one call: `4096 bytes`. */
	readonly bytes?: number;
}

/**
 * Times an operation: rounds of it, long enough to be timed well, and the median of them.
 *
 * @param operation does it `times` times
 * @param quick fewer and shorter rounds, to see that it runs
 */
export function measure(
	name: string,
	operation: (times: number) => void,
	options: { quick: boolean; bytes?: number },
): Measurement {
	const roundMs = options.quick ? 2 : 60;
	let times = 1;
	for (let elapsed = 0; elapsed < roundMs; times *= 2) {
		const start = performance.now();
		operation(times);
		elapsed = performance.now() - start;
	}
	const rounds = Array.from({ length: options.quick ? 3 : 9 }, () => {
		const start = performance.now();
		operation(times);
		return ((performance.now() - start) * 1e6) / times;
	}).sort((a, b) => a - b);
	const ns = rounds[rounds.length >> 1] ?? 0;
	const spread = ((rounds.at(-1) ?? 0) - (rounds[0] ?? 0)) / ns;
	return { name, ns, spread, ...(options.bytes === undefined ? {} : { bytes: options.bytes }) };
}
