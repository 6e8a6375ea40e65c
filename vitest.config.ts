import { defineConfig } from "vitest/config";

// The sources keep no state between tests, so files may share what a worker has loaded: half the time of the whole suite.
const ordinary = { isolate: false };

// Coverage runs the sources through Node's own loader, stripped of types in place, so that V8's offsets are the source's.
const coverage = {
	experimental: { viteModuleRunner: false, nodeLoader: false },
	execArgv: ["--import", new URL("./test/coverage/strip-loader.mjs", import.meta.url).href],
};

export default defineConfig({
	test: {
		include: ["test/**/*.test.ts"],
		pool: "threads",
		testTimeout: 30_000,
		setupFiles: ["test/one-user.ts"],
		...(process.env["COVERAGE"] ? coverage : ordinary),
	},
});
