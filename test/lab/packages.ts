import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE, cached } from "./cache.ts";

/** Something the lab needs and cannot get. */
export class LabError extends Error {
	override readonly name = "LabError";
}

const SUITES = ["bookworm", "bookworm-backports", "trixie-backports"];
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/**
 * Fetches Debian packages and unpacks them, without root and without touching what is installed: apt runs on a state of
 * its own, with the mirror this machine is configured for.
 *
 * @param name the cache folder's name
 * @param packages names, with `=version` where it matters
 * @param options `dependencies`: with everything they need, down to libc; `finish`: what else makes the folder complete
 * @returns the folder they are unpacked in
 */
export function unpacked(
	name: string,
	packages: readonly string[],
	options: { dependencies: boolean; suite: string; finish?: (folder: string) => void },
): string {
	return cached(name, (folder) => {
		const environment = aptEnvironment();
		const archives = join(folder, "archives");
		mkdirSync(join(archives, "partial"), { recursive: true });
		if (options.dependencies)
			apt(environment, [
				"install",
				"--yes",
				"--download-only",
				"-t",
				options.suite,
				"-o",
				`Dir::Cache::archives=${archives}`,
				...packages,
			]);
		else apt(environment, ["download", ...packages], archives);
		for (const archive of readdirSync(archives).filter((file) => file.endsWith(".deb")))
			execFileSync("dpkg-deb", ["-x", join(archives, archive), folder]);
		execFileSync("rm", ["-rf", archives]);
		options.finish?.(folder);
	});
}

function apt(environment: NodeJS.ProcessEnv, args: readonly string[], cwd?: string): void {
	try {
		execFileSync("apt-get", ["-qq", ...args], {
			env: environment,
			stdio: ["ignore", "ignore", "pipe"],
			...(cwd ? { cwd } : {}),
		});
	} catch (error) {
		const said = (error as { stderr?: Buffer }).stderr?.toString().trim() ?? String(error);
		throw new LabError(`Cannot fetch Debian packages: apt-get ${args[0]} says:\n${said}`);
	}
}

let prepared: NodeJS.ProcessEnv | undefined;

/** apt's environment: an empty installation, lists of the suites the lab takes packages from. */
function aptEnvironment(): NodeJS.ProcessEnv {
	if (prepared) return prepared;
	for (const tool of ["apt-get", "dpkg-deb"]) {
		try {
			execFileSync(tool, ["--version"], { stdio: "ignore" });
		} catch {
			throw new LabError(
				`The lab takes QEMU and its kernels from Debian's packages and needs ${tool}: run it on Debian or Ubuntu, or in a container of one`,
			);
		}
	}
	const state = join(CACHE, "apt");
	for (const folder of ["lists/partial", "archives/partial"]) mkdirSync(join(state, folder), { recursive: true });
	writeFileSync(join(state, "status"), "");
	const uri = mirror();
	writeFileSync(
		join(state, "sources.list"),
		SUITES.map((suite) => `deb [signed-by=${KEYRING}] ${uri} ${suite} main\n`).join(""),
	);
	writeFileSync(
		join(state, "apt.conf"),
		`Dir::State "${state}";
Dir::State::status "${state}/status";
Dir::Cache "${state}";
Dir::Etc::sourcelist "${state}/sources.list";
Dir::Etc::sourceparts "-";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Debug::NoLocking "true";
`,
	);
	prepared = { ...process.env, APT_CONFIG: join(state, "apt.conf"), DEBIAN_FRONTEND: "noninteractive" };
	apt(prepared, ["update"]);
	return prepared;
}

/** The Debian mirror: VFIO_LAB_MIRROR, or the one that this machine's own apt uses. */
function mirror(): string {
	const given = process.env["VFIO_LAB_MIRROR"];
	if (given) return given;
	const folder = "/etc/apt/sources.list.d";
	const files = ["/etc/apt/sources.list", ...list(folder).map((file) => join(folder, file))];
	for (const file of files) {
		const text = read(file);
		const found = file.endsWith(".sources")
			? /^URIs:\s*(\S*debian\/?)\s*$/m.exec(text)?.[1]
			: /^deb\s+(?:\[[^\]]*\]\s+)?(\S*debian\/?)\s/m.exec(text)?.[1];
		if (found) return found;
	}
	throw new LabError("Cannot find a Debian mirror in this machine's apt configuration: name one in VFIO_LAB_MIRROR");
}

function list(folder: string): string[] {
	try {
		return readdirSync(folder);
	} catch {
		return [];
	}
}

function read(file: string): string {
	try {
		return readFileSync(file, "utf8");
	} catch {
		return "";
	}
}
