import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { EINVAL, EISDIR, ENOENT, ENOSPC, ENOTDIR } from "../../core/uapi/errno.ts";
import { LinuxKernel } from "../../kernel-linux/mod.ts";
import { errorOf } from "./support.ts";

const kernel = new LinuxKernel();
const folder = mkdtempSync(join(tmpdir(), "vfio-ts-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("LinuxKernel.readFile()", () => {
	it("reads a file that does not know its size", () => {
		expect(new TextDecoder().decode(kernel.readFile("/proc/self/status"))).toMatch(/^Name:[\s\S]*VmRSS:/);
	});

	it("reads all of a file of many pages, and of none", () => {
		const content = new Uint8Array(10_001).map((_, index) => index % 251);
		writeFileSync(join(folder, "long"), content);
		writeFileSync(join(folder, "empty"), "");
		expect(kernel.readFile(join(folder, "long"))).toEqual(content);
		expect(kernel.readFile(join(folder, "empty")).length).toBe(0);
	});

	it("throws what open(2) or read(2) answers", () => {
		const path = join(folder, "absent");
		expect(errorOf(() => kernel.readFile(path))).toEqual({ errno: ENOENT, call: "open", target: path });
		expect(errorOf(() => kernel.readFile(folder))).toEqual({ errno: EISDIR, call: "read", target: folder });
	});
});

describe("LinuxKernel.writeFile()", () => {
	it("writes the text and nothing else, in place of what was there", () => {
		const path = join(folder, "attribute");
		writeFileSync(path, "something longer");
		kernel.writeFile(path, "vfio-pci ✓");
		expect(readFileSync(path, "utf8")).toBe("vfio-pci ✓");
	});

	it("throws what write(2) answers, not only what open(2) does", () => {
		expect(errorOf(() => kernel.writeFile("/dev/full", "1"))).toEqual({
			errno: ENOSPC,
			call: "write",
			target: "/dev/full",
		});
	});

	it("creates no file", () => {
		expect(errorOf(() => kernel.writeFile(join(folder, "new_id"), "1")).errno).toBe(ENOENT);
	});
});

describe("LinuxKernel.readLink()", () => {
	it("gives the link as it is written", () => {
		symlinkSync("../../bus/pci/drivers/vfio-pci", join(folder, "driver"));
		expect(kernel.readLink(join(folder, "driver"))).toBe("../../bus/pci/drivers/vfio-pci");
	});

	it("throws EINVAL when it is no link", () => {
		expect(errorOf(() => kernel.readLink(folder))).toEqual({ errno: EINVAL, call: "readlink", target: folder });
	});
});

describe("LinuxKernel.readDirectory()", () => {
	it("lists the names in order, without the directory and its parent", () => {
		const path = join(folder, "devices");
		mkdirSync(path);
		expect(kernel.readDirectory(path)).toEqual([]);
		const names = Array.from({ length: 500 }, (_, index) => `0000:${index.toString(16).padStart(2, "0")}:00.0`).sort();
		for (const name of names) writeFileSync(join(path, name), "");
		expect(kernel.readDirectory(path)).toEqual(names);
	});

	it("throws ENOENT and ENOTDIR", () => {
		writeFileSync(join(folder, "file"), "");
		expect(errorOf(() => kernel.readDirectory(join(folder, "absent"))).errno).toBe(ENOENT);
		expect(errorOf(() => kernel.readDirectory(join(folder, "file"))).errno).toBe(ENOTDIR);
	});

	it("leaves no descriptor open, whatever happened", () => {
		const open = () => kernel.readDirectory("/proc/self/fd").length;
		const before = open();
		kernel.readFile("/proc/self/status");
		expect(() => kernel.readFile(folder)).toThrow();
		expect(() => kernel.writeFile("/dev/full", "1")).toThrow();
		expect(open()).toBe(before);
	});
});
