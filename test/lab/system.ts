import { join } from "node:path";
import { unpacked } from "./packages.ts";

/** The QEMU that the recordings were made with. */
const QEMU_VERSION = "1:10.0.2+ds-2+deb13u1~bpo12+1";

/** Programs of the lab's own, from Debian's packages: QEMU, busybox, kmod, and all they need down to libc. */
export interface LabSystem {
	readonly folder: string;
	/** The command line that runs one of them with its own loader and libraries, so that this machine's libc does not matter. */
	command(program: string, args: readonly string[]): [file: string, args: string[]];
}

/** Fetches them, or finds them in the cache. @throws LabError */
export function labSystem(): LabSystem {
	const folder = unpacked(
		`qemu-${QEMU_VERSION.replaceAll(/[^\w.]/g, "-")}`,
		[`qemu-system-x86=${QEMU_VERSION}`, "ipxe-qemu", "busybox-static", "kmod"],
		{ dependencies: true, suite: "bookworm-backports" },
	);
	const libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"].map((path) => join(folder, path)).join(":");
	return {
		folder,
		command: (program, args) => [
			join(folder, "lib64/ld-linux-x86-64.so.2"),
			["--library-path", libraries, "--argv0", program, join(folder, program), ...args],
		],
	};
}
