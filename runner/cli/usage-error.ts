/** The command line cannot be understood. It ends the program with exit code 2 and a hint at `--help`. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}
