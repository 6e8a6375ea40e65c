import { VfioError } from "../../../core/errors.ts";

/** The VfioError that the call throws; anything else fails the test. */
export function vfioError(call: () => unknown): VfioError {
	try {
		call();
	} catch (error) {
		if (error instanceof VfioError) return error;
		throw error;
	}
	throw new Error("nothing was thrown");
}
