import { EDU, HotPlugBench } from "../attach/hot-plug-bench.ts";
import type { Measurement } from "./measure.ts";

const CYCLES = 1000;
const COMPARED = 60;
/** After so many cycles one may take this much longer than in a machine that has done none, noise included. */
const GROWTH_LIMIT = 1.5;

/**
 * Plugs a device into a running guest and takes it out again, 1,000 times: opening, attaching, the guest's whole part, and
 * giving back. Then it does so in turns in this machine and in a fresh one, so that what else the computer does counts for
 * both.
 *
 * @returns `growth`: how many times as long it takes in the old machine
 * @throws Error when anything is left of it, or when it takes longer
 */
export function hotPlugBench(): Measurement & { readonly growth: number } {
	const old = booted();
	const before = JSON.stringify(old.leaks);
	const first = Array.from({ length: CYCLES }, () => timed(old));
	const after = JSON.stringify(old.leaks);
	if (after !== before) throw new Error(`${CYCLES} hot plugs left ${after} where there was ${before}`);

	const fresh = booted();
	const pairs = Array.from({ length: COMPARED }, () => [timed(old), timed(fresh)] as const);
	const growth = median(pairs.map(([aged]) => aged)) / median(pairs.map(([, young]) => young));
	for (const bench of [old, fresh]) {
		bench[Symbol.dispose]();
		if (Object.keys(bench.leaks).length > 0) throw new Error(`hot plug left ${JSON.stringify(bench.leaks)}`);
	}
	if (growth > GROWTH_LIMIT)
		throw new Error(`hot plugs take ${growth.toFixed(2)} times as long after ${CYCLES} of them`);
	const sorted = first.toSorted((a, b) => a - b);
	const ns = median(first);
	const spread = ((sorted[(CYCLES * 3) >> 2] ?? ns) - (sorted[CYCLES >> 2] ?? ns)) / ns;
	return { name: "hot plug and unplug, the guest's part included", ns, spread, growth };
}

function booted(): HotPlugBench {
	const bench = new HotPlugBench();
	bench.guest.boot();
	return bench;
}

/** Nanoseconds of a cycle. */
function timed(bench: HotPlugBench): number {
	const start = performance.now();
	bench.cycle(EDU, "rp1");
	return (performance.now() - start) * 1e6;
}

function median(values: readonly number[]): number {
	return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
