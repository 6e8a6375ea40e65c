import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where everything the lab fetches and builds is kept: outside the tree, and safe to delete. */
export const CACHE: string = join(
	process.env["VFIO_TS_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "vfio-ts"),
	"lab",
);

/**
 * A folder of the cache that is made once for each name. The name says what is in it, versions included, so a new version
 * is a new folder.
 *
 * @param fill puts the content into an empty folder; when it throws or the program dies, nothing is kept
 */
export function cached(name: string, fill: (folder: string) => void): string {
	const folder = join(CACHE, name);
	const done = join(folder, ".complete");
	if (existsSync(done)) return folder;
	const draft = `${folder}.${process.pid}`;
	rmSync(draft, { recursive: true, force: true });
	mkdirSync(draft, { recursive: true });
	try {
		fill(draft);
		rmSync(folder, { recursive: true, force: true });
		renameSync(draft, folder);
		writeFileSync(done, "");
		return folder;
	} catch (error) {
		rmSync(draft, { recursive: true, force: true });
		throw error;
	}
}
