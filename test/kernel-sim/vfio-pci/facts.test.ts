import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as uapi from "../../../core/uapi/vfio.ts";
import { Host } from "../../../kernel-sim/host.ts";
import { attempt, Bench } from "./bench.ts";

// What real kernels answered, against the host they ran on as its lspci describes it. Facts of one category were recorded
// one after the other on one open device, with steps in between that the sample leaves out: those are in `BEFORE`.

interface Answer {
	readonly ret?: number | string;
	readonly errno?: string;
	readonly data?: string;
	readonly value?: unknown;
	readonly flags?: string | number;
	readonly size?: number;
	readonly off?: number;
	readonly count?: number;
}
interface Fact {
	readonly cat: string;
	readonly name: string;
	readonly call: string;
	readonly args: string | number;
	readonly "6.12": Answer;
	readonly "7.2"?: Answer;
}

const read = (name: string) => readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), "utf8");
const FACTS: readonly Fact[] = JSON.parse(read("linux-facts.json")).facts;
const HOST = read("lspci/host.txt");
const EDU = "0000:01:00.0";
const E1000E = "0000:03:00.0";

/** Facts that are about something else than this kernel. */
const ELSEWHERE: ReadonlySet<string> = new Set([
	// lspci does not print what is in a ROM, or behind an I/O BAR.
	"msix/ROM/pread",
	"msix/ROM crossing end/pread",
	"msix/I/O BAR 8 bytes/pread",
	// What a device answers to a width that it does not take is the model's matter.
	"region-io/BAR 2 (device wants 4)/pread",
	// The lab's devices have no Parity Error Response; those here do.
	"region-io/command after ffff/pread",
]);
/** Where the sample's 7.2 answer is that of the first fact of the same name, not of this one. */
const REPEATED: ReadonlySet<string> = new Set(["irqs/  eventfd count", "msix/PMCSR"]);

class Session extends Bench {
	readonly fds: Readonly<Record<string, number>> = { efd: this.eventfd(), efd2: this.eventfd() };

	fdOf(fd: number | string): number {
		// 20 was a file that is no eventfd.
		return fd === 20 ? this.container : typeof fd === "number" ? fd : (this.fds[fd] as number);
	}

	/** Carries a fact out. */
	run(fact: Fact): Answer {
		const args = String(fact.args);
		const number = (pattern: RegExp) => Number(pattern.exec(args)?.[1]);
		switch (fact.call) {
			case "pread":
				return preadAnswer(this.pread(number(/region (\d+)/), number(/\+(0x\w+)/), number(/len (\d+)/)));
			case "pwrite":
				return answer(this.pwrite(number(/region (\d+)/), number(/\+(0x\w+)/), args.split(" ").at(-1) ?? ""));
			case "mmap": {
				const offset = args === "" ? 0 : number(/off (0x\w+)/);
				const length = args === "" ? 0x1000 : number(/size (0x\w+)/);
				const [index, at] = [Math.floor(offset / 2 ** 40), offset % 2 ** 40];
				const flags = args === "" ? 1 : number(/flags (\d+)/);
				const mapped = attempt(() => this.mmap(index, at, length, flags, args === "" ? 3 : number(/prot (\d+)/)));
				return typeof mapped === "string" ? answer(mapped) : { ret: "mapped" };
			}
			case "VFIO_DEVICE_GET_INFO": {
				const info = uapi.vfio_device_info.create();
				info.argsz = number(/argsz (\d+)/);
				return answer(this.ioctl(uapi.VFIO_DEVICE_GET_INFO, info.bytes));
			}
			case "VFIO_DEVICE_GET_REGION_INFO": {
				const info = args.startsWith("argsz")
					? this.regionInfo(0, number(/argsz (\d+)/))
					: this.regionInfo(Number(fact.args), 32);
				if (typeof info === "string") return answer(info);
				return { flags: `0x${info.flags.toString(16)}`, size: info.size, off: info.offset };
			}
			case "VFIO_DEVICE_GET_IRQ_INFO": {
				const info = args.startsWith("argsz")
					? this.irqInfo(0, number(/argsz (\d+)/))
					: this.irqInfo(Number(fact.args));
				return typeof info === "string" ? answer(info) : { flags: `0x${info.flags.toString(16)}`, count: info.count };
			}
			case "VFIO_DEVICE_FEATURE":
				return answer(this.feature(featureFlags(args)));
			case "VFIO_DEVICE_SET_IRQS":
				return answer(this.#setIrqs(args, number));
			case "VFIO_DEVICE_IOEVENTFD": {
				const fd = fact.name === "remove" ? -1 : (this.fds["efd"] as number);
				return answer(this.ioeventfd(number(/flags (\d+)/), number(/off (0x\w+)/), fd));
			}
			case "VFIO_DEVICE_RESET":
				return answer(this.ioctl(uapi.VFIO_DEVICE_RESET));
			case "VFIO_DEVICE_PCI_HOT_RESET": {
				const fds = fact.name.includes("wrong fd") ? [this.container] : [this.group, this.group].slice(0, Number(args));
				return answer(this.hotReset(fds));
			}
			case "PCI_HOT_RESET_INFO": {
				const info = this.hotResetInfo(0);
				return { ...answer(info.answer), count: info.count };
			}
			case "sysfs config":
				return { value: fact.name.includes("BAR0") ? this.fn.configRead(0x10, 4).toString(16) : this.sysfs(0x42, 1) };
			case "read":
				return { value: fact.name === "  eventfd" ? [this.count(this.fdOf("efd")), this.count(this.fdOf("efd2"))] : 0 };
			default:
				throw new Error(`${fact.call} is not known here`);
		}
	}

	#setIrqs(args: string, number: (pattern: RegExp) => number): number | string {
		if (args.startsWith("argsz")) return this.setIrqs(1, 0x24, 0, 1, [this.fdOf("efd")], number(/argsz (\d+)/));
		const data: (number | string)[] = JSON.parse(/data (.*)$/.exec(args)?.[1] ?? "[]");
		const flags = number(/flags (0x\w+)/);
		return this.setIrqs(
			number(/index (\d+)/),
			flags,
			number(/start (\d+)/),
			number(/count (\d+)/),
			data.map((fd) => this.fdOf(fd)),
		);
	}
}

/** What the sample left out, before the n-th fact of a name. */
const BEFORE: Readonly<Record<string, (session: Session, times: number) => void>> = {
	"region-io/config vendor after": (session) => session.pwrite(7, 0, "ffff"),
	"region-io/command": (session) => session.pwrite(7, 4, "0600"),
	"region-io/command after ffff": (session) => session.pwrite(7, 4, "ffff"),
	"irqs/MSI enable": (session) => session.pwrite(7, 0x42, "0100"),
	"irqs/physical MSI ctl": (session) => session.setIrqs(1, 0x24, 0, 1, [session.fdOf("efd")]),
	"irqs/loopback with no fd": (session) => session.setIrqs(1, 0x24, 0, 1, [-1]),
	"irqs/command while INTx masked": (session) => {
		session.pwrite(7, 4, "0600");
		session.setIrqs(0, 0x9, 0, 1);
	},
	"irqs/INTX unmask eventfd other": (session) => session.setIrqs(0, 0x14, 0, 1, [session.fdOf("efd2")]),
	"irqs/INTX loopback": (session) => {
		for (const fd of ["efd", "efd2"]) session.count(session.fdOf(fd));
	},
	"irqs/REQ none count 0": (session) => session.setIrqs(4, 0x24, 0, 1, [session.fdOf("efd")]),
	"reset/reset": (session) => session.pwrite(7, 4, "0600"),
	"msix/PMCSR": (session, times) => {
		if (times > 0) session.pwrite(7, 0xcc, "0000");
	},
};

/** Facts that read what an earlier one did: which eventfd was meant is not recorded. */
const COUNTS: Readonly<Record<string, readonly string[]>> = { "irqs/  eventfd count": ["efd2", "efd", "efd2"] };

describe.each(["6.12", "7.2"] as const)("vfio-pci against facts recorded on Linux %s", (version) => {
	it.each([
		["device", EDU],
		["region-io", EDU],
		["config-virt", EDU],
		["mmap", EDU],
		["irqs", EDU],
		["ioeventfd", EDU],
		["reset", EDU],
		["msix", E1000E],
	])("%s: answers as it did", (category, address) => {
		const session = new Session(Host.fromLspci(HOST), address, version);
		const seen = new Map<string, number>();
		for (const fact of FACTS.filter(({ cat }) => cat === category)) {
			const name = `${fact.cat}/${fact.name}`;
			const times = seen.get(name) ?? 0;
			seen.set(name, times + 1);
			if (ELSEWHERE.has(`${name}/${fact.call}`)) continue;
			BEFORE[name]?.(session, times);
			const fd = COUNTS[name]?.[times];
			const actual = fd === undefined ? session.run(fact) : { value: session.count(session.fdOf(fd)) };
			const expected = (version === "7.2" && !REPEATED.has(name) && fact["7.2"]) || fact["6.12"];
			expect(describeAnswer(actual, expected), `${name}: ${fact.call} ${fact.args}`).toEqual(
				describeAnswer(expected, expected),
			);
		}
		expect(seen.size).toBeGreaterThan(0);
	});
});

function answer(result: number | string): Answer {
	return typeof result === "string" ? { ret: -1, errno: result } : { ret: result };
}

function preadAnswer(digits: string): Answer {
	return /^E[A-Z]+$/.test(digits) ? answer(digits) : { ret: digits.length / 2, data: digits };
}

/** What both say. */
function describeAnswer(actual: Answer, expected: Answer): Answer {
	const keys = (["ret", "errno", "data", "value", "flags", "size", "off", "count"] as const).filter(
		(key) => expected[key] !== undefined,
	);
	return Object.fromEntries(keys.map((key) => [key, actual[key]]));
}

function featureFlags(words: string): number {
	const values: Readonly<Record<string, number>> = {
		PROBE: uapi.VFIO_DEVICE_FEATURE_PROBE,
		GET: uapi.VFIO_DEVICE_FEATURE_GET,
		SET: uapi.VFIO_DEVICE_FEATURE_SET,
	};
	return words.split("|").reduce((flags, word) => flags | (values[word] ?? Number(word)), 0);
}
