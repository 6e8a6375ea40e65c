import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { TYPESCRIPT } from "../support/typescript.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const options = { cwd: root, timeout: 20_000 };
const SMOKE = [
	"mapping ef be ed fe beef",
	"open /dev/vfio/absent: No such file or directory (ENOENT)",
	"memory 4096 0n true",
	"events 400 left open 0",
	"",
].join("\n");

async function node(program: string, ...flags: string[]): Promise<string> {
	return (await run(process.execPath, [...flags, ...TYPESCRIPT, `test/kernel-linux/${program}`], options)).stdout;
}

/** Deno where $DENO, the path or the cache of .ci/run has it. */
function findDeno(): string | undefined {
	const cache =
		process.env["VFIO_TS_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "vfio-ts");
	const cached = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith("deno")) : [];
	return [
		process.env["DENO"],
		...(process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "deno")),
		...cached.map((name) => join(cache, name, "node_modules/@deno/linux-x64-glibc/deno")),
	].find((path) => path !== undefined && existsSync(path));
}

describe("LinuxKernel in a process of its own", () => {
	it("works, leaves nothing open, and lets the process end when nothing is watched", async () => {
		expect(await node("smoke.ts")).toBe(SMOKE);
	});

	it("watch() reports what a callback throws as uncaught, and calls the others", async () => {
		expect(await node("throwing.ts")).toBe("uncaught: of callback 1\ncalled: 0 1 2\n");
	});

	it("gives the addresses of disposed memory back when the last view is collected", async () => {
		expect(await node("collected.ts", "--expose-gc")).toBe("held: true 0\ndropped: false\n");
	});

	it("survives the end of a worker thread that still watches an eventfd which is quiet", async () => {
		expect(await node("abandoned.ts")).toBe("signalled 1\nended\n");
	});

	it.each([
		[
			"no-vfio Cannot use the kernel: this is darwin, and VFIO is part of Linux",
			'Object.defineProperty(process, "platform", { value: "darwin" })',
		],
		[
			`no-vfio Cannot use the kernel: koffi does not load on linux-${process.arch}`,
			'import m from "node:module"; const l = m._load; m._load = (n, ...r) => { if (n === "koffi") throw new Error("no binary"); return l(n, ...r) }',
		],
	])("throws %s", async (message, preload) => {
		const program = `import { LinuxKernel } from "./kernel-linux/mod.ts";
			try { new LinuxKernel() } catch (error) { console.log(error.code, error.message, error.remedy.length > 0) }`;
		const flags = ["--import", `data:text/javascript,${encodeURIComponent(preload)}`, ...TYPESCRIPT];
		const { stdout } = await run(process.execPath, [...flags, "--input-type=module", "--eval", program], options);
		expect(stdout).toBe(`${message} true\n`);
	});

	it("works in Deno", async (context) => {
		const deno = findDeno();
		if (deno === undefined) context.skip("no Deno here: set $DENO, or run .ci/run, which installs it");
		else expect((await run(deno, ["run", "-A", "test/kernel-linux/smoke.ts"], options)).stdout).toBe(SMOKE);
	});
});
