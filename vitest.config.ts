import { defineConfig } from "vitest/config";

// Coverage runs the sources through Node's own loader, stripped of types in place, so that V8's offsets are the source's.
const coverage = process.env["COVERAGE"]
	? {
			experimental: { viteModuleRunner: false, nodeLoader: false },
			execArgv: ["--import", new URL("./test/coverage/strip-loader.mjs", import.meta.url).href],
		}
	: {};

// The sources keep no state between tests, so that files may share loaded modules: half the time of the whole suite.
export default defineConfig({
	test: { include: ["test/**/*.test.ts"], pool: "threads", isolate: false, testTimeout: 30_000, ...coverage },
});
