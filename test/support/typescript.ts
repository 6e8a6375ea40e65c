/**
 * Node's flags for a child process that runs our sources. Under coverage it loads them as the tests do: tsx rewrites them,
 * and V8's offsets would be those of its text.
 */
export const TYPESCRIPT: readonly string[] = process.env["COVERAGE"]
	? ["--import", new URL("../coverage/strip-loader.mjs", import.meta.url).href]
	: ["--import", "tsx"];
