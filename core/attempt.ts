/**
 * What may fail at a guest's request, and must not reach it.
 *
 * @module
 */

/** Who learns of a failure. */
export interface Reporter {
	/** Something failed that a guest cannot be told. */
	report(message: string): void;
}

/** Does something that may fail at a guest's request, and reports that instead of throwing. @returns whether it worked */
export function attempt(reporter: Reporter, action: () => void): boolean {
	try {
		action();
		return true;
	} catch (error) {
		reporter.report(error instanceof Error ? error.message : String(error));
		return false;
	}
}
