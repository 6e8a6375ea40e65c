import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import type { Kernel } from "../../../core/kernel.ts";
import { TracingKernel } from "../../../core/tracing-kernel.ts";
import { requestName, type VfioFileKind } from "../../../core/uapi/requests.ts";
import { VFIO_PCI_MSIX_IRQ_INDEX } from "../../../core/uapi/vfio.ts";

/** How often each call was made, by name; an ioctl has its request's name. */
export type Counts = Readonly<Record<string, number>>;

/** System calls on VFIO's files, in the order they were made. */
export interface Trace {
	/** The calls since this was asked last. */
	take(): string[];
}

/** Counts calls. */
export function countCalls(calls: readonly string[]): Counts {
	const counts: Record<string, number> = {};
	for (const name of [...calls].sort()) counts[name] = (counts[name] ?? 0) + 1;
	return counts;
}

const TRACED = "trace=ioctl,pread64,pwrite64,mmap,openat";
/** strace's names, where the seam calls them something else. */
const NAMES: Readonly<Record<string, string>> = {
	pread64: "pread",
	pwrite64: "pwrite",
	openat: "open",
};

/** The calls of a program that runs under strace. */
export class StraceTrace implements Trace {
	readonly #file: string;
	#seen = 0;

	constructor(file: string) {
		this.#file = file;
		closeSync(openSync(file, "w"));
	}

	/** strace's arguments. -f: of all threads; -y: with what descriptors stand for; -X raw: requests as numbers. */
	get arguments(): string[] {
		return ["-f", "-y", "-X", "raw", "-e", TRACED, "-o", this.#file, "--"];
	}

	take(): string[] {
		const text = readFileSync(this.#file, "latin1");
		const whole = text.slice(this.#seen, text.lastIndexOf("\n") + 1);
		this.#seen += whole.length;
		return whole.split("\n").flatMap((line) => {
			const name = callName(line);
			return name === undefined ? [] : [name];
		});
	}

	[Symbol.dispose](): void {
		rmSync(this.#file);
	}
}

/** @returns undefined for a line that is about something else */
function callName(line: string): string | undefined {
	const [, call, first = ""] = /^\d+ +(\w+)\((.*)$/.exec(line) ?? [];
	if (call === undefined || !/"\/dev\/vfio\/|<\/dev\/vfio\/|\[vfio-device\]/.test(line)) return undefined;
	if (call !== "ioctl") return NAMES[call] ?? call;
	const [, file = "", request = ""] = /^\d+<([^,]*)>, (0x[0-9a-f]+|\d+)/.exec(first) ?? [];
	const kind: VfioFileKind =
		file === "/dev/vfio/vfio" ? "container" : file.startsWith("/dev/vfio/") ? "group" : "device";
	return requestName(Number(request), kind);
}

const ACCESSES = ["open", "pread", "pwrite", "mmap"];

/** The calls that go through a kernel object. */
export class SeamTrace implements Trace {
	readonly kernel: Kernel;
	readonly #calls: string[] = [];
	#msixCalls = 0;

	constructor(kernel: Kernel) {
		this.kernel = new TracingKernel(kernel, {
			wants: () => true,
			onCall: ({ name, target, arguments: words }) => {
				const vfio = target.startsWith("/dev/vfio/") || /^[0-9a-f]{4}:/.test(target);
				if (name.startsWith("VFIO_") || (vfio && ACCESSES.includes(name))) this.#calls.push(name);
				if (name === "VFIO_DEVICE_SET_IRQS" && words.includes(`index: ${VFIO_PCI_MSIX_IRQ_INDEX},`)) this.#msixCalls++;
			},
		});
	}

	/** How many SET_IRQS were about MSI-X since {@link take}: strace cannot tell that of QEMU's. */
	get msixCalls(): number {
		return this.#msixCalls;
	}

	take(): string[] {
		this.#msixCalls = 0;
		return this.#calls.splice(0);
	}
}
