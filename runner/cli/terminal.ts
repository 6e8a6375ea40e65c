/** What a command needs of the world around it; a test gives its own. */
export interface Terminal {
	/** Standard output, a whole line without its end. */
	print(line: string): void;
	/** Standard error, the same. */
	complain(line: string): void;
	/** Aborted by the first Ctrl-C or SIGTERM: the command gives everything back and ends. */
	readonly interrupted: AbortSignal;
	/** Reads a file of the user's. @throws an Error with a `code`, as node:fs does */
	readFile(path: string): string;
}
