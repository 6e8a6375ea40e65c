import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type CpioEntry, cpio } from "./cpio.ts";
import type { LabKernel } from "./kernels.ts";

/** What the kernel needs to reach its root, which is this machine's own file system over 9p. */
const ROOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/**
 * Builds the initramfs: busybox, the modules that reach the root, and `init.sh`.
 *
 * @param busybox a statically linked one
 */
export function writeInitramfs(file: string, kernel: LabKernel, busybox: string): void {
	const entries: CpioEntry[] = ["bin", "proc", "sys", "dev", "ro", "rw", "newroot", "modules"].map(directory);
	entries.push(
		regular("bin/busybox", readFileSync(busybox)),
		regular("init", readFileSync(new URL("./init.sh", import.meta.url))),
	);
	const order = loadOrder(kernel.modules, ROOT_MODULES);
	for (const path of order)
		entries.push(regular(`modules/${basename(path).replace(/\.xz$/, "")}`, moduleBytes(join(kernel.modules, path))));
	entries.push(
		regular("modules/order", Buffer.from(order.map((path) => `${basename(path).replace(/\.xz$/, "")}\n`).join(""))),
	);
	writeFileSync(file, cpio(entries));
}

function directory(path: string): CpioEntry {
	return { path, mode: 0o040755, data: Buffer.alloc(0) };
}

function regular(path: string, data: Buffer): CpioEntry {
	return { path, mode: 0o100755, data };
}

/** The modules and all they depend on, each after what it needs. One that is built in has no file and is left out. */
function loadOrder(modules: string, names: readonly string[]): string[] {
	const dependencies = new Map<string, string[]>();
	for (const line of readFileSync(join(modules, "modules.dep"), "utf8").split("\n")) {
		const [path, needs] = line.split(":");
		if (path) dependencies.set(path, (needs ?? "").split(" ").filter(Boolean));
	}
	const order: string[] = [];
	const add = (path: string) => {
		for (const need of dependencies.get(path) ?? []) add(need);
		if (!order.includes(path)) order.push(path);
	};
	for (const name of names) {
		const path = [...dependencies.keys()].find(
			(candidate) =>
				basename(candidate)
					.replace(/\.ko(\.xz)?$/, "")
					.replaceAll("-", "_") === name,
		);
		if (path) add(path);
	}
	return order;
}

function moduleBytes(path: string): Buffer {
	return path.endsWith(".xz") ? execFileSync("xz", ["-dc", path], { maxBuffer: 2 ** 28 }) : readFileSync(path);
}
