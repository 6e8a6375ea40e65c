import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
	closeSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { cached } from "./cache.ts";
import { LabError, unpacked } from "./packages.ts";
import type { LabSystem } from "./system.ts";

const SOURCE = "linux-source-6.12";
const SOURCE_VERSION = "6.12.95-1~bpo12+1";
const FRAGMENT = new URL("./own-kernel.config", import.meta.url);

/** What must be installed: a compiler brings headers and libraries of this very machine along. */
const NEEDED = ["gcc", "ld", "make", "tar", "xz", "gzip", "perl"];

/** What is taken from Debian's packages where the machine has none, by its path in them. */
const TOOLS: Readonly<Record<string, string>> = {
	flex: "usr/bin/flex",
	bison: "usr/bin/bison",
	m4: "usr/bin/m4",
	bc: "usr/bin/bc",
};

/** The packages of those tools with their libraries, and libelf, which the kernel's objtool is linked to. */
const TOOL_PACKAGES: readonly string[] = [
	...["flex", "bison", "m4", "libsigsegv2"],
	...["bc", "libreadline8", "libtinfo6"],
	...["libelf-dev", "libelf1", "zlib1g"],
];

const LIBRARIES = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/**
 * Builds the lab's own kernel, or finds it in the cache: Debian's source with `own-kernel.config`, since Debian's kernels
 * have no iommufd, no character devices of VFIO, no no-IOMMU mode and no sample devices.
 *
 * @returns the folder that holds `vmlinuz` and `lib/modules`
 * @throws LabError
 */
export function ownKernel(system: LabSystem): string {
	const fragment = readFileSync(FRAGMENT, "utf8");
	const hash = createHash("sha256").update(fragment).digest("hex").slice(0, 12);
	return cached(`linux-own-${SOURCE_VERSION.replaceAll(/[^\w.]/g, "-")}-${hash}`, (folder) =>
		build(folder, fragment, system),
	);
}

function build(folder: string, fragment: string, system: LabSystem): void {
	const missing = NEEDED.filter((tool) => !installed(tool));
	if (missing.length > 0)
		throw new LabError(
			`The lab's own kernel is compiled here, and this machine has no ${missing.join(", no ")}: install them (on Debian: apt-get install build-essential xz-utils), or take one of Debian's kernels`,
		);
	const begin = Date.now();
	say(`builds a kernel from ${SOURCE} ${SOURCE_VERSION}; once, and it takes about a quarter of an hour`);
	say("fetches the source and the tools");
	const packages = unpacked(`${SOURCE}-${SOURCE_VERSION.replaceAll(/[^\w.]/g, "-")}`, [`${SOURCE}=${SOURCE_VERSION}`], {
		dependencies: false,
		suite: "bookworm-backports",
	});
	const tools = unpacked("kernel-tools-bookworm", TOOL_PACKAGES, { dependencies: false, suite: "bookworm" });
	say("unpacks the source");
	const work = join(folder, "work");
	const [source, objects, programs] = ["source", "objects", "programs"].map((name) => join(work, name)) as [
		string,
		string,
		string,
	];
	for (const path of [source, objects, programs]) mkdirSync(path, { recursive: true });
	execFileSync("tar", ["-xJf", join(packages, `usr/src/${SOURCE}.tar.xz`), "-C", source, "--strip-components=1"]);
	const make = maker(source, objects, writeTools(programs, tools, system), tools);

	configure(make, objects, fragment);
	say(`compiles it with ${availableParallelism()} jobs`);
	make(`-j${availableParallelism()}`, "bzImage", "modules");
	say("installs its modules");
	make("modules_install", `INSTALL_MOD_PATH=${folder}`, `DEPMOD=${join(programs, "depmod")}`);
	copyFileSync(join(objects, "arch/x86/boot/bzImage"), join(folder, "vmlinuz"));
	copyFileSync(join(objects, ".config"), join(folder, "config"));
	const modules = join(folder, "lib/modules", readdirSync(join(folder, "lib/modules"))[0] ?? "");
	if (!existsSync(join(modules, "modules.dep"))) throw new LabError(`depmod did not write modules.dep in ${modules}`);
	// A link to a folder that is about to go.
	rmSync(join(modules, "build"), { force: true });
	rmSync(work, { recursive: true });
	say(`has built its kernel in ${((Date.now() - begin) / 60_000).toFixed(1)} minutes`);
}

/** The smallest configuration with the fragment's lines in it. @throws LabError when the source does not take one of them */
function configure(make: (...args: string[]) => void, objects: string, fragment: string): void {
	const file = join(objects, ".config");
	make("tinyconfig");
	const wanted = options(fragment);
	const rest = readFileSync(file, "utf8")
		.split("\n")
		.filter((line) => !wanted.has(option(line)?.name ?? ""));
	writeFileSync(file, `${rest.join("\n")}\n${fragment}`);
	make("olddefconfig");
	const given = options(readFileSync(file, "utf8"));
	const refused = [...wanted].filter(([name, value]) => (given.get(name) ?? "n") !== value);
	if (refused.length > 0)
		throw new LabError(
			`${SOURCE} ${SOURCE_VERSION} does not take ${refused.map(([name, value]) => `${name}=${value}`).join(", ")}`,
		);
}

function options(text: string): Map<string, string> {
	const found = text.split("\n").flatMap((line) => option(line) ?? []);
	return new Map(found.map(({ name, value }) => [name, value]));
}

function option(line: string): { name: string; value: string } | undefined {
	const [, name, value] = /^(CONFIG_\w+)=(.*)$/.exec(line) ?? [];
	if (name !== undefined && value !== undefined) return { name, value };
	const unset = /^# (CONFIG_\w+) is not set$/.exec(line)?.[1];
	return unset === undefined ? undefined : { name: unset, value: "n" };
}

/** Runs make on the kernel. What it prints goes to a file, whose end is the error's text. */
function maker(source: string, objects: string, path: string, tools: string): (...args: string[]) => void {
	const libraries = LIBRARIES.map((part) => join(tools, part));
	const fixed = [
		...["-C", source, `O=${objects}`, `HOSTCFLAGS=-I${join(tools, "usr/include")}`],
		`HOSTLDFLAGS=${libraries.flatMap((part) => [`-L${part}`, `-Wl,-rpath,${part}`]).join(" ")}`,
	];
	const log = join(objects, "../make.log");
	return (...args) => {
		const output = openSync(log, "w");
		try {
			execFileSync("make", [...fixed, ...args], {
				stdio: ["ignore", output, output],
				env: { ...process.env, PATH: path, KBUILD_BUILD_USER: "lab", KBUILD_BUILD_HOST: "vfio-ts" },
			});
		} catch {
			const end = readFileSync(log, "utf8").trimEnd().split("\n").slice(-30).join("\n");
			throw new LabError(`Cannot build the lab's own kernel: make ${args.join(" ")} ended with:\n${end}`);
		} finally {
			closeSync(output);
		}
	};
}

/** Scripts that run the fetched tools with the lab's own loader. @returns a PATH with them behind the machine's own */
function writeTools(folder: string, tools: string, system: LabSystem): string {
	const libraries = [tools, system.folder].flatMap((root) => LIBRARIES.map((part) => join(root, part)));
	const loader = [join(system.folder, "lib64/ld-linux-x86-64.so.2"), "--library-path", libraries.join(":")];
	for (const [name, program] of Object.entries(TOOLS)) {
		// flex and bison know their helpers by the paths of an installed package.
		const environment = [`BISON_PKGDATADIR=${join(tools, "usr/share/bison")}`, `M4=${join(folder, "m4")}`];
		writeScript(join(folder, name), ["env", ...environment, ...loader, join(tools, program)]);
	}
	writeScript(join(folder, "depmod"), [...loader, "--argv0", "depmod", join(system.folder, "bin/kmod")]);
	return `${process.env["PATH"] ?? "/usr/bin:/bin"}:${folder}`;
}

function writeScript(file: string, command: readonly string[]): void {
	writeFileSync(file, `#!/bin/sh\nexec ${command.map(quoted).join(" ")} "$@"\n`, { mode: 0o755 });
}

function quoted(word: string): string {
	return `'${word.replaceAll("'", "'\\''")}'`;
}

function installed(tool: string): boolean {
	return (process.env["PATH"] ?? "").split(":").some((folder) => folder !== "" && existsSync(join(folder, tool)));
}

function say(text: string): void {
	console.log(`lab: ${text}`);
}
