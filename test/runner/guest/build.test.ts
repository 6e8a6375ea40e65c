import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const sources = fileURLToPath(new URL("../../../runner/guest", import.meta.url));

function compilers(): string | undefined {
	try {
		return ["gcc", "ld"]
			.map((tool) => execFileSync(tool, ["--version"], { encoding: "utf8" }).split("\n")[0])
			.join("\n");
	} catch {
		return undefined;
	}
}

function canBuild(): boolean {
	try {
		execFileSync("gcc", ["-m32", "-ffreestanding", "-c", "-x", "c", "-o", "/dev/null", "-"], { input: "int x;" });
		return true;
	} catch {
		return false;
	}
}

describe.runIf(canBuild())("build.sh", () => {
	let folder: string;

	beforeEach(() => {
		folder = mkdtempSync(join(tmpdir(), "vfio-ts-guest-"));
	});

	afterEach(() => {
		rmSync(folder, { recursive: true });
	});

	const build = () => {
		const copy = join(folder, "guest");
		cpSync(sources, copy, { recursive: true });
		const output = join(folder, "built.elf");
		execFileSync("sh", [join(copy, "build.sh"), output]);
		return readFileSync(output);
	};

	it("builds from any folder, without a warning", () => {
		expect(build().subarray(0, 4).toString("latin1")).toBe("\x7fELF");
	});

	const same = compilers() === readFileSync(join(sources, "compiler.txt"), "utf8").trim();
	it.runIf(same)("builds the bytes that are in the repository", () => {
		expect(build().equals(readFileSync(join(sources, "guest.elf")))).toBe(true);
	});
});
