import { readFile } from "node:fs/promises";
import swc from "@swc/wasm-typescript";

export async function load(url, context, next) {
	if (!url.startsWith("file:")) return next(url, context);
	const file = new URL(url);
	if (!file.pathname.endsWith(".ts")) return next(url, context);
	// vitest appends a query to what it imports
	file.search = "";
	file.hash = "";
	const { code } = swc.transformSync(await readFile(file, "utf8"), { mode: "strip-only" });
	return { format: "module", shortCircuit: true, source: code };
}
