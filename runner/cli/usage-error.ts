import { VfioError } from "../../core/errors.ts";

/** The command line cannot be understood. It ends the program with exit code 2 and a hint at `--help`. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

/** What only reads a command line: what it finds wrong is wrong there. @throws UsageError in place of a VfioError */
export function understanding<T>(read: () => T): T {
	try {
		return read();
	} catch (error) {
		throw error instanceof VfioError ? new UsageError(error.message, { cause: error }) : error;
	}
}
