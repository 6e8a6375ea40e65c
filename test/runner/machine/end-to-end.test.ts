import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/mod.ts";
import { bindGroup } from "../../../core/host/mod.ts";
import { GuestMemoryMapper } from "../../../core/iommu/mod.ts";
import { parseSlotAddress } from "../../../core/machine/mod.ts";
import { AssignedFunction } from "../../../core/pci/mod.ts";
import { Releases } from "../../../core/release.ts";
import { Host, MemoryNamespace, patternContent, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { HostClock } from "../../../runner/host-clock.ts";
import { GuestMachine, type GuestOutcome, type GuestStatistics, guestProgram } from "../../../runner/machine/mod.ts";

const BLOCK = 512;
const NVME = "0000:05:00.0";
const EDU = "0000:01:00.0";

interface Run {
	readonly device: string;
	readonly interrupts?: "msix" | "msi" | "intx";
	readonly commandLine?: string;
	readonly port?: boolean;
	readonly jit?: boolean;
	readonly namespace?: MemoryNamespace;
}

interface Report {
	readonly outcome: GuestOutcome;
	readonly results: ReadonlyMap<string, string>;
	readonly statistics: GuestStatistics;
	readonly reports: readonly string[];
	readonly linux: SimulatedLinux;
}

/** The main job, whole: a simulated Linux, vfio-pci, an assigned function, a guest in v86; and everything given back. */
async function run({
	device: address,
	interrupts = "msix",
	commandLine = "",
	port = true,
	jit = false,
	namespace,
}: Run) {
	const clock = new HostClock();
	const host = Host.reference({ interrupts, ...(namespace ? { namespaces: [namespace] } : {}) });
	const linux = new SimulatedLinux({ host, clock });
	const kernel = linux.process();
	const machine = await GuestMachine.create({ kernel, program: guestProgram(), commandLine, jit, timeLimit: 20_000 });
	const results = new Map<string, string>();
	const reports: string[] = [];
	machine.onEvent((event) => event.type === "result" && results.set(event.name, event.value));
	const releases = new Releases();
	let outcome: GuestOutcome;
	try {
		releases.use(bindGroup(kernel, address));
		const device = releases.use(VfioDevice.open(kernel, address));
		GuestMemoryMapper.attach(device.iommu, machine.memory);
		const fn = releases.use(AssignedFunction.attach(device, { onReport: (message) => reports.push(message) }));
		if (port) machine.topology.addRootPort("rp1", { address: parseSlotAddress("8") });
		machine.topology.plug(fn, port ? { bus: "rp1" } : { address: parseSlotAddress("5") });
		releases.defer(() => machine.topology.unplug(fn));
		outcome = await machine.run();
		await machine.stop();
	} finally {
		releases[Symbol.dispose]();
		await machine[Symbol.asyncDispose]();
		clock.stop();
	}
	return { outcome, results, reports, statistics: machine.statistics, linux } satisfies Report;
}

/** FNV-1a over bytes: what the guest prints. */
function checksum(bytes: Uint8Array): string {
	let sum = 2166136261;
	for (const byte of bytes) sum = Math.imul(sum ^ byte, 16777619);
	return (sum >>> 0).toString(16).padStart(8, "0");
}

const NOTHING = {
	openFiles: 0,
	mappings: 0,
	dmaMappings: 0,
	iommufdObjects: 0,
	pinnedPages: 0,
	eventfds: 0,
	watches: 0,
	timers: 0,
	memory: 0,
	virtualMachines: 0,
};

describe("a guest that drives an assigned NVMe controller", () => {
	it.each([
		{ interrupt: "msix", port: true, jit: false },
		{ interrupt: "msix", port: false, jit: true },
		{ interrupt: "msi", port: true, jit: true },
		{ interrupt: "intx", port: true, jit: false },
		{ interrupt: "intx", port: false, jit: true },
	] as const)("passes by $interrupt, below a root port: $port, jit: $jit", async ({ interrupt, port, jit }) => {
		const { outcome, results, statistics, linux, reports } = await run({
			device: NVME,
			interrupts: interrupt,
			commandLine: `interrupt=${interrupt} blocks=64`,
			port,
			jit,
		});
		expect(outcome).toMatchObject({ kind: "pass" });
		expect(results.get("nvme0.interrupt")).toBe(interrupt);
		expect(results.get("nvme0.read.blocks")).toBe("64");
		expect(Number(results.get("nvme0.interrupts"))).toBe(statistics.messages + statistics.intx);
		expect(results.get("nvme0.masking")).toBe(interrupt === "msix" ? "ok" : undefined);
		expect(linux.faults).toEqual([]);
		expect(reports).toEqual([]);
		expect(linux.leaks()).toEqual(NOTHING);
	});

	it("reads what the namespace holds, and leaves there what it wrote", async () => {
		const namespace = new MemoryNamespace(1 << 20, { content: patternContent });
		const bytes = (first: number, blocks: number) => {
			const content = new Uint8Array(blocks * BLOCK);
			namespace.read(first * BLOCK, content);
			return content;
		};
		const expected = checksum(bytes(0, 100));
		const { outcome, results } = await run({
			device: NVME,
			namespace,
			commandLine: `blocks=100 checksum=${expected} write=keep`,
		});
		expect(outcome).toMatchObject({ kind: "pass" });
		expect(results.get("nvme0.read.checksum")).toBe(expected);
		expect(results.get("nvme0.write.first")).toBe("100");
		expect(results.get("nvme0.write.checksum")).toBe(checksum(bytes(100, Number(results.get("nvme0.write.blocks")))));
	});

	it("puts back what it wrote over, unless told otherwise", async () => {
		const namespace = new MemoryNamespace(1 << 20, { content: patternContent });
		const whole = () => {
			const content = new Uint8Array(1 << 20);
			namespace.read(0, content);
			return checksum(content);
		};
		const before = whole();
		const { outcome, results } = await run({ device: NVME, namespace, commandLine: "blocks=100" });
		expect(outcome).toMatchObject({ kind: "pass" });
		expect(results.has("nvme0.write.checksum")).toBe(true);
		expect(whole()).toBe(before);
	});

	it("fails when the blocks are not what it was told", async () => {
		const { outcome } = await run({ device: NVME, commandLine: "blocks=8 checksum=12345678" });
		expect(outcome.kind).toBe("fail");
		expect(outcome.reason).toMatch(/the blocks' checksum is [0-9a-f]{8}, not 12345678/);
	});
});

describe("a guest that drives an assigned edu device", () => {
	it.each(["msi", "intx"] as const)("passes by %s", async (interrupt) => {
		const { outcome, results, statistics, linux } = await run({ device: EDU, commandLine: `interrupt=${interrupt}` });
		expect(outcome).toMatchObject({ kind: "pass" });
		expect(results.get("edu0.interrupts")).toBe("11");
		expect(interrupt === "msi" ? statistics.messages : statistics.intx).toBe(11);
		expect(linux.faults).toEqual([]);
		expect(linux.leaks()).toEqual(NOTHING);
	});
});
