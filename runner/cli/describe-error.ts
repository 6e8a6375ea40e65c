import { VfioError } from "../../core/errors.ts";
import { UsageError } from "./usage-error.ts";

/** An error as a person reads it: what failed, what the kernel said, and what to do about it. */
export function describeError(error: unknown): string {
	if (error instanceof AggregateError)
		return [error.message, ...error.errors.map((inner) => `  ${describeError(inner)}`)].join("\n");
	if (!(error instanceof Error)) return String(error);
	const lines = [error.message];
	if (error.cause instanceof Error && !error.message.includes(error.cause.message))
		lines.push(`  because: ${error.cause.message}`);
	const told = error instanceof UsageError ? error.cause : error;
	if (told instanceof VfioError && told.remedy.length > 0)
		lines.push("  to mend it:", ...told.remedy.map((step) => `    ${step}`));
	return lines.join("\n");
}
