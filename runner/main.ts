#!/usr/bin/env node
import { readFileSync } from "node:fs";
import process from "node:process";
import { main } from "./cli/main.ts";
import { readVersion } from "./version.ts";

const interrupt = new AbortController();
/** A launcher may pass on a signal that the terminal has sent to us already: within this time it is the same one. */
const SAME_SIGNAL_MS = 1000;
let interruptedAt = 0;
for (const signal of ["SIGINT", "SIGTERM"] as const)
	process.on(signal, () => {
		if (!interrupt.signal.aborted) {
			interruptedAt = performance.now();
			interrupt.abort(signal);
		} else if (performance.now() - interruptedAt > SAME_SIGNAL_MS) {
			// A second one means that giving things back takes too long for somebody.
			process.exit(130);
		}
	});
// Whoever reads our output may stop early (`| head`): that is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
	if (error.code !== "EPIPE") throw error;
});

process.exitCode = await main(
	process.argv.slice(2),
	{
		print: (line) => process.stdout.write(`${line}\n`),
		complain: (line) => process.stderr.write(`${line}\n`),
		interrupted: interrupt.signal,
		readFile: (path) => readFileSync(path, "utf8"),
	},
	readVersion(),
);
