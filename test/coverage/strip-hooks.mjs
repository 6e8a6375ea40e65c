import { readFile } from "node:fs/promises";
import swc from "@swc/wasm-typescript";
import { transform } from "esbuild";

const TESTS = new URL("../", import.meta.url).pathname;

export async function load(url, context, next) {
	if (!url.startsWith("file:")) return next(url, context);
	const file = new URL(url);
	if (!file.pathname.endsWith(".ts")) return next(url, context);
	// vitest appends a query to what it imports
	file.search = "";
	file.hash = "";
	const text = await readFile(file, "utf8");
	const { code } = file.pathname.startsWith(TESTS)
		? await lowered(text)
		: swc.transformSync(text, { mode: "strip-only" });
	return { format: "module", shortCircuit: true, source: code };
}

/** Tests are not counted, so they may be rewritten; they have `using`, which Node 20 lacks. */
function lowered(text) {
	return transform(text, {
		loader: "ts",
		format: "esm",
		target: "node20.19",
		sourcemap: "inline",
		tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
	});
}
