import { existsSync, readFileSync } from "node:fs";

/** The version of this program. The sources are one folder below package.json, the built program is two. */
export function readVersion(): string {
	for (const path of ["../package.json", "../../package.json"]) {
		const manifest = new URL(path, import.meta.url);
		if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, "utf8")).version;
	}
	return "unknown";
}
