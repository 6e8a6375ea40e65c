import { type Case, title } from "./case.ts";
import { HostDescription } from "./host.ts";
import type { Observation } from "./observations.ts";
import type { Target } from "./target.ts";
import { Trial } from "./trial.ts";

/** What came of a run. */
export interface Report {
	/** What the kernel calls itself. */
	readonly kernel: string;
	readonly version: string;
	readonly cases: number;
	readonly passed: number;
	readonly failed: readonly { readonly case: string; readonly why: readonly string[] }[];
	readonly skipped: readonly { readonly case: string; readonly why: string }[];
	/** What each case saw, by its id. */
	readonly observations: Readonly<Record<string, readonly Observation[]>>;
}

/** Options of {@link runCases}. */
export interface RunOptions {
	/** Milliseconds until a case that hangs has failed. */
	readonly limit?: number;
	/** Told of each case when it begins. */
	readonly onCase?: (title: string) => void;
	/** Told of each case when it is over. @param milliseconds how long it took */
	readonly onResult?: (title: string, failures: readonly string[] | undefined, milliseconds: number) => void;
}

/** Tries a kernel. */
export async function runCases(target: Target, cases: readonly Case[], options: RunOptions = {}): Promise<Report> {
	const host = new HostDescription(target.kernel, target.version);
	const failed: { case: string; why: readonly string[] }[] = [];
	const skipped: { case: string; why: string }[] = [];
	const observations: Record<string, readonly Observation[]> = {};
	for (const one of cases) {
		const why = one.needs?.(host);
		if (why !== undefined) {
			skipped.push({ case: title(one), why });
			continue;
		}
		options.onCase?.(title(one));
		const start = performance.now();
		const trial = new Trial(target, host);
		await attempt(one, trial, options.limit ?? 30_000);
		observations[one.id] = trial.observations.list;
		if (trial.failures.length > 0) failed.push({ case: title(one), why: trial.failures });
		options.onResult?.(title(one), trial.failures, performance.now() - start);
	}
	await target.dispose();
	const passed = cases.length - failed.length - skipped.length;
	return {
		kernel: target.kernel.name,
		version: target.version,
		cases: cases.length,
		passed,
		failed,
		skipped,
		observations,
	};
}

async function attempt(one: Case, trial: Trial, limit: number): Promise<void> {
	let timer: ReturnType<typeof setTimeout> | undefined;
	const hanging = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(new Error(`it hangs after ${trial.observations.last}`)), limit);
	});
	try {
		await Promise.race([one.run(trial), hanging]);
	} catch (error) {
		trial.failures.push(`${error instanceof Error ? error.message : error}${where(error)}`);
	}
	try {
		await Promise.race([trial.end(), hanging]);
	} catch (error) {
		trial.failures.push(`Cannot give everything back: ${error instanceof Error ? error.message : error}`);
	}
	clearTimeout(timer);
}

/** The case's own line in a stack. */
function where(error: unknown): string {
	const line =
		error instanceof Error ? error.stack?.split("\n").find((one) => one.includes("/contract/cases/")) : undefined;
	return line ? ` (${line.trim().replace(/^at /, "").replace(/.*\//, "").replace(/\)$/, "")})` : "";
}
