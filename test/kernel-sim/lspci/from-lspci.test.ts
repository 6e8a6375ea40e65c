import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PCI_CAP_ID_MSI, PCI_CAP_ID_MSIX } from "../../../core/uapi/pci_regs.ts";
import { type LspciMachine, machineFromLspci } from "../../../kernel-sim/from-lspci.ts";
import { walkCapabilities } from "../../../kernel-sim/hardware/config-walk.ts";
import type { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { parseLspci } from "../../../kernel-sim/hardware/lspci.ts";
import { regionsOf } from "../../../kernel-sim/hardware/lspci-bars.ts";
import { defaultModels, Edu, Nvme } from "../../../kernel-sim/hardware/models/mod.ts";
import { SparseMemory } from "../../../kernel-sim/hardware/models/sparse-memory.ts";
import { printLspci } from "../../../kernel-sim/to-lspci.ts";
import { bytesOnly, fixture, singleDevices } from "./fixtures.ts";

function only({ machine }: LspciMachine): PciFunction {
	const [fn] = machine.functions;
	if (!fn) throw new Error("no function");
	return fn;
}

/** A device's text from the bytes of a fixture, changed. */
function changed(name: string, change: (config: Uint8Array) => void, text = ""): string {
	const [parsed] = parseLspci(fixture(name));
	if (!parsed) throw new Error(name);
	const config = parsed.config.slice();
	change(config);
	return dump(parsed.name, config, text);
}

function dump(name: string, config: Uint8Array, text = ""): string {
	const lines = [`${name} Device`, ...(text === "" ? [] : [text])];
	for (let at = 0; at < config.length; at += 16) {
		const bytes = Array.from(config.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, "0"));
		lines.push(`${at.toString(16).padStart(2, "0")}: ${bytes.join(" ")}`);
	}
	return `${lines.join("\n")}\n`;
}

const host = () => machineFromLspci(fixture("host.txt"));

describe("machineFromLspci()", () => {
	it("rebuilds the whole host: topology, groups, drivers", () => {
		const { machine, drivers } = host();
		expect(machine.functions).toHaveLength(40);
		const nvme = machine.function("0000:05:00.0") as PciFunction;
		expect(machine.bridgeOf(nvme)).toBe(machine.function("0000:00:08.4"));
		const behind = machine.function("0000:0f:01.0") as PciFunction;
		const bridge = machine.bridgeOf(behind) as PciFunction;
		expect(bridge).toBe(machine.function("0000:0e:00.0"));
		expect(machine.bridgeOf(bridge)).toBe(machine.function("0000:00:09.5"));
		expect(machine.groupOf(nvme)).toBe(25);
		expect([34, 19, 20].map((group) => machine.groups.get(group)?.length)).toEqual([3, 2, 3]);
		expect(machine.groups.size).toBe(35);
		expect(drivers.get("0000:00:08.0")).toBe("pcieport");
		expect(drivers.get("0000:08:00.0")).toBe("virtio-pci");
		expect(drivers.has("0000:05:00.0")).toBe(false);
	});

	it("computes the groups that were printed, when they are not", () => {
		const printed = host().machine;
		const computed = machineFromLspci(fixture("host.txt").replace(/^\tIOMMU group:.*\n/gm, "")).machine;
		expect([...computed.groups.values()].map((members) => members.length)).toEqual(
			[...printed.groups.values()].map((members) => members.length),
		);
	});

	it("keeps the registers as they were printed, with messages off", () => {
		const { machine } = host();
		for (const parsed of parseLspci(fixture("host.txt"))) {
			const fn = machine.function(parsed.name) as PciFunction;
			expect(fn.interruptMode).toBe("intx");
			const differences = [...parsed.config.keys()].filter((at) => fn.config[at] !== parsed.config[at]);
			const msix = fn.msix ? [fn.msix.offset + 3] : [];
			const msi = fn.msi ? [fn.msi.offset + 2] : [];
			expect(differences.filter((at) => !msix.includes(at) && !msi.includes(at))).toEqual([]);
		}
	});

	it("has the BAR sizes that were printed", () => {
		const { machine } = host();
		const sizes = (address: string) => {
			const fn = machine.function(address) as PciFunction;
			return [0, 1, 2, 3, 4, 5].map((index) => fn.bar(index)?.size ?? 0).concat(fn.romSize);
		};
		const K = 1024;
		expect(sizes("0000:03:00.0")).toEqual([128 * K, 128 * K, 32, 16 * K, 0, 0, 256 * K]);
		expect(sizes("0000:04:00.0")).toEqual([128 * K, 128 * K, 32, 16 * K, 0, 0, 0]);
		expect(sizes("0000:08:00.0")).toEqual([0, 4 * K, 0, 0, 16 * K, 0, 256 * K]);
		expect(sizes("0000:0d:00.0")).toEqual([16 * K * K, 0, 4 * K, 0, 0, 0, 128 * K]);
		expect(sizes("0000:00:08.0")).toEqual([4 * K, 0, 0, 0, 0, 0, 0]);
		const testdev = machine.function("0000:02:00.0") as PciFunction;
		expect(testdev.bar(1)).toMatchObject({ kind: "io", size: 256 });
		expect(testdev.bar(2)).toMatchObject({ kind: "mem64", prefetchable: true, size: 64 * K });
		expect(testdev.barAddress(2)).toBe(0xc140000000n);
	});

	it("brings NVMe and edu to life", () => {
		const { machine } = host();
		for (const address of ["0000:05:00.0", "0000:06:00.0"]) {
			const fn = machine.function(address) as PciFunction;
			expect(fn.model).toBeInstanceOf(Nvme);
			fn.configWrite(4, 2, 6);
			expect(fn.read(0, 0x08, 4)).toBe(0x00010400);
			expect(fn.read(0, 0x2000 + 12, 4)).toBe(1); // the MSI-X table: masked
		}
		const edu = machine.function("0000:01:00.0") as PciFunction;
		expect(edu.model).toBeInstanceOf(Edu);
		expect(edu.read(0, 0, 4)).toBe(0x010000ed);
		expect((machine.function("0000:02:00.0") as PciFunction).memory(0)).toHaveLength(4096);
	});

	it.each(singleDevices)("rebuilds %s alone, on a root bus", (name) => {
		const built = machineFromLspci(fixture(name));
		const fn = only(built);
		expect(built.machine.bridgeOf(fn)).toBeUndefined();
		expect(built.machine.groupOf(fn)).toBe(parseLspci(fixture(name))[0]?.iommuGroup);
		fn.reset();
		expect(fn.configRead(4, 2)).toBe(0);
		expect(fn.barAddress(0)).toBe(0n);
	});

	it("an NVMe controller of another make works, wherever its MSI-X table is", () => {
		const text = changed("nvme.txt", (config) => {
			config.set([0x4d, 0x14, 0x08, 0xa8], 0);
			config.set([0x00, 0x18, 0, 0], 0x44); // the table at 0x1800 of BAR 0
		});
		const fn = only(machineFromLspci(text));
		const nvme = fn.model as Nvme;
		expect(nvme.identity.vendor).toBe(0x144d);
		expect(nvme.identity.serial).toBe("0000:06:00.0");
		// 256 doorbells before the table.
		expect(nvme.features.submissionQueues).toBe(64);
		const narrow = changed("nvme.txt", (config) => config.set([0x20, 0x10, 0, 0], 0x44));
		expect((only(machineFromLspci(narrow)).model as Nvme).features.submissionQueues).toBe(3);
	});

	it("serves functions with the user's models", () => {
		const models = defaultModels().register({ ids: { vendor: 0x8086, device: 0x10d3 } }, () => ({
			model: new SparseMemory(),
			registers: [0],
		}));
		const fn = only(machineFromLspci(fixture("82574l.txt"), { models }));
		expect(fn.model).toBeInstanceOf(SparseMemory);
		expect(fn.bar(0)?.backing).toBe("registers");
		expect(fn.bar(1)?.backing).toBe("memory");
	});

	it("takes 64 bytes: no capabilities are known", () => {
		const [parsed] = parseLspci(fixture("nvme.txt"));
		const fn = only(machineFromLspci(dump("0000:06:00.0", (parsed?.config ?? new Uint8Array()).slice(0, 64))));
		expect(fn.config).toHaveLength(256);
		expect(fn.configRead(6, 2) & 0x10).toBe(0);
		expect(fn.resetMethods).toEqual([]);
		expect(fn.model).toBeInstanceOf(Nvme);
	});

	it("keeps 16 GiB of a graphics card without taking them", () => {
		const config = new Uint8Array(256);
		config.set([0xde, 0x10, 0x01, 0x00, 0x02, 0, 0, 0, 0, 0, 0, 3], 0);
		config.set([0x0c, 0, 0, 0, 0x60, 0, 0, 0], 0x10);
		const region = "\tRegion 0: Memory at 6000000000 (64-bit, prefetchable) [size=16G]";
		const fn = only(machineFromLspci(dump("01:00.0", config, region)));
		expect(fn.bar(0)?.size).toBe(2 ** 34);
		fn.write(0, 2 ** 34 - 4, 4, 0xcafef00d);
		expect(fn.read(0, 2 ** 34 - 4, 4)).toBe(0xcafef00d);
		expect(fn.read(0, 2 ** 34 - 2, 2)).toBe(0xcafe);
		expect(fn.read(0, 0, 4)).toBe(0);
	});

	it("rebuilds a virtual function with the identifiers and regions that were printed", () => {
		const config = new Uint8Array(256);
		config.set([0xff, 0xff, 0xff, 0xff], 0);
		config.set([0, 0, 0, 2], 8);
		const text = dump(
			"0000:04:10.0",
			config,
			[
				"\tRegion 0: Memory at c100000000 (64-bit, prefetchable) [virtual] [size=16K]",
				"\tRegion 3: Memory at c100020000 (64-bit, prefetchable) [virtual] [size=16K]",
			].join("\n"),
		).replace("Device\n", "Ethernet controller [0200]: Intel 82576 Virtual Function [8086:10ca] (rev 01)\n");
		const fn = only(machineFromLspci(text));
		expect(fn.configRead(0, 4)).toBe(0x10ca8086);
		expect(fn.barAddress(3)).toBe(0xc100020000n);
		expect(fn.bar(0)).toMatchObject({ kind: "mem64", size: 16384 });
		fn.write(0, 0, 4, 5);
		expect(fn.read(0, 0, 4)).toBe(5);
	});

	it("does not take legacy ports for BARs", () => {
		const config = new Uint8Array(256);
		config.set([0x86, 0x80, 0x01, 0x00], 0);
		const region = "\tRegion 0: I/O ports at 01f0 [virtual] [size=8]";
		expect(only(machineFromLspci(dump("00:01.1", config, region))).bar(0)).toBeUndefined();
	});
});

describe("machineFromLspci() with bytes alone", () => {
	it("finds sizes near the real ones on the whole host", () => {
		const real = host().machine;
		const guessed = machineFromLspci(bytesOnly(fixture("host.txt"))).machine;
		let exact = 0;
		let total = 0;
		for (const fn of real.functions) {
			const other = guessed.function(fn.address) as PciFunction;
			for (let index = 0; index < 6; index++) {
				const bar = fn.bar(index);
				const guess = other.bar(index);
				expect(guess?.kind).toBe(bar?.kind);
				if (!bar || !guess) continue;
				total += 1;
				if (guess.size === bar.size) exact += 1;
				expect(other.barAddress(index)).toBe(fn.barAddress(index));
			}
		}
		expect(total).toBeGreaterThan(40);
		expect(exact / total).toBeGreaterThan(0.5);
	});

	it("never lets a BAR reach into the next one or past its alignment", () => {
		const functions = parseLspci(bytesOnly(fixture("host.txt")));
		const spans: { start: bigint; end: bigint; io: boolean }[] = [];
		for (const [parsed, { bars }] of regionsOf(functions)) {
			const fn = only(machineFromLspci(dump(parsed.name, parsed.config)));
			for (const bar of bars) {
				const start = fn.barAddress(bar.index);
				if (start === 0n) continue;
				expect(start % BigInt(bar.size)).toBe(0n);
				spans.push({ start, end: start + BigInt(bar.size), io: bar.kind === "io" });
			}
		}
		for (const io of [true, false]) {
			const sorted = spans.filter((span) => span.io === io).sort((a, b) => (a.start < b.start ? -1 : 1));
			sorted.forEach((span, i) => {
				const next = sorted[i + 1];
				if (next) expect(span.end <= next.start).toBe(true);
			});
		}
	});

	it.each([
		["nvme.txt", 0, 16 * 1024],
		["82574l.txt", 3, 16 * 1024],
		["82574l.txt", 0, 128 * 1024],
		["virtio-net.txt", 1, 4096],
		["megasas.txt", 1, 16 * 1024],
		["ahci.txt", 5, 4096],
		["edu.txt", 0, 1024 * 1024],
		["hda.txt", 0, 16 * 1024],
	])("finds the size in %s of BAR %i", (name, index, size) => {
		expect(only(machineFromLspci(bytesOnly(fixture(name)))).bar(index)?.size).toBe(size);
	});

	it("NVMe controllers are live", () => {
		const fn = only(machineFromLspci(bytesOnly(fixture("nvme.txt"))));
		expect(fn.model).toBeInstanceOf(Nvme);
	});
});

describe("machineFromLspci() with hostile registers", () => {
	it.each([
		["a capability chain in a circle", "nvme.txt", (c: Uint8Array) => c.set([0x40], 0x61)],
		["a capability pointer into the header", "nvme.txt", (c: Uint8Array) => c.set([0x04], 0x34)],
		["a capability at the very end", "nvme.txt", (c: Uint8Array) => c.set([0xfc], 0x34)],
		[
			"an MSI-X capability cut off at 0x100",
			"nvme.txt",
			(c: Uint8Array) => c.set([0xf8], 0x34) ?? c.set([0x11, 0, 0xff, 7], 0xf8),
		],
		["an MSI-X table in no BAR", "nvme.txt", (c: Uint8Array) => c.set([0x05], 0x44)],
		["an MSI-X table in BAR 7", "nvme.txt", (c: Uint8Array) => c.set([0x07], 0x44)],
		["an MSI-X table at the end of the world", "nvme.txt", (c: Uint8Array) => c.set([0xf8, 0xff, 0xff, 0xff], 0x44)],
		["an extended capability in a circle", "82574l.txt", (c: Uint8Array) => c.set([0x01, 0x00, 0x01, 0x10], 0x140)],
		["all ones", "nvme.txt", (c: Uint8Array) => c.fill(0xff)],
		["all zeroes", "nvme.txt", (c: Uint8Array) => c.fill(0)],
		["a 64-bit BAR in the last register", "edu.txt", (c: Uint8Array) => c.set([0x04, 0, 0, 0xf0], 0x24)],
		["a BAR of a reserved type", "edu.txt", (c: Uint8Array) => c.set([0x06, 0, 0, 0xf0], 0x14)],
		["an unknown header type", "edu.txt", (c: Uint8Array) => c.set([0x03], 0x0e)],
		["a CardBus header", "edu.txt", (c: Uint8Array) => c.set([0x02], 0x0e)],
		["a bridge that leads to itself", "pcie-pci-bridge.txt", (c: Uint8Array) => c.set([0x0e, 0x0e, 0x0e], 0x18)],
		["a bridge that leads upwards", "pcie-pci-bridge.txt", (c: Uint8Array) => c.set([0x0e, 0, 0xff], 0x18)],
	])("builds a host with %s", (_what, name, change) => {
		for (const text of ["", "\tRegion 0: Memory at fdc00000 (64-bit, non-prefetchable) [size=16K]"]) {
			const built = machineFromLspci(changed(name, change, text));
			const fn = only(built);
			expect(built.machine.groups.size).toBe(1);
			fn.configWrite(4, 2, 7);
			for (let index = 0; index < 6; index++) fn.read(index, 0, 4);
			fn.reset();
		}
	});

	it("bridges that lead to each other", () => {
		const bridge = (bus: number, secondary: number) =>
			changed("pcie-pci-bridge.txt", (c) => c.set([bus, secondary, secondary], 0x18)).replace(
				/^0000:0e/,
				`0000:0${bus}`,
			);
		const { machine } = machineFromLspci(bridge(1, 2) + bridge(2, 1));
		expect(machine.groups.size).toBeGreaterThan(0);
	});

	it("builds a host from any bytes", () => {
		const config = fc.uint8Array({ minLength: 256, maxLength: 256 });
		const size = fc.constantFrom("", "[size=1]", "[size=24]", "[size=3M]", "[size=64T]", "[size=0]");
		fc.assert(
			fc.property(config, fc.integer({ min: 0, max: 5 }), size, (bytes, index, text) => {
				const region = `\tRegion ${index}: Memory at f000 (64-bit, prefetchable) ${text}`;
				const fn = only(machineFromLspci(dump("05:00.0", bytes, region)));
				const differences = [...bytes.keys()].filter((at) => at >= 0x40 && fn.config[at] !== bytes[at]);
				// A host that has just booted has no messages enabled; random bytes may have several such capabilities.
				const messages = walkCapabilities(bytes).filter(({ id }) => id === PCI_CAP_ID_MSI || id === PCI_CAP_ID_MSIX);
				expect(differences.every((at) => messages.some(({ offset }) => at >= offset + 2 && at <= offset + 3))).toBe(
					true,
				);
				fn.reset();
			}),
			{ numRuns: 200 },
		);
	});
});

describe("printLspci()", () => {
	it("prints what machineFromLspci() reads back", () => {
		const { machine, drivers } = host();
		const again = machineFromLspci(printLspci(machine, drivers));
		expect(again.drivers).toEqual(drivers);
		expect(again.machine.functions).toHaveLength(machine.functions.length);
		for (const fn of machine.functions) {
			const other = again.machine.function(fn.address) as PciFunction;
			expect(other.config.join()).toBe(fn.config.join());
			expect(again.machine.groupOf(other)).toBe(machine.groupOf(fn));
			expect(other.description.bars).toEqual(fn.description.bars);
			expect(other.romSize).toBe(fn.romSize);
		}
	});

	it("round-trips after any config writes", () => {
		const { machine } = machineFromLspci(fixture("82576.txt"));
		const fn = only({ machine, drivers: new Map() });
		const write = fc.tuple(fc.integer({ min: 0, max: 1023 }), fc.integer({ min: 0, max: 0xffffffff }));
		fc.assert(
			fc.property(fc.array(write, { maxLength: 8 }), (writes) => {
				for (const [dword, value] of writes) fn.configWrite(dword * 4, 4, value);
				const other = only(machineFromLspci(printLspci(machine)));
				const differences = [...fn.config.keys()].filter((at) => fn.config[at] !== other.config[at]);
				const messages = [fn.msi?.offset ?? 0, fn.msix?.offset ?? 0];
				expect(differences.every((at) => messages.some((offset) => at === offset + 2 || at === offset + 3))).toBe(true);
				expect(other.description.bars).toEqual(fn.description.bars);
			}),
			{ numRuns: 30 },
		);
	});
});
