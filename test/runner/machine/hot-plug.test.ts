import { afterEach, describe, expect, it } from "vitest";
import { IoAddressSpace, VfioDevice } from "../../../core/device/mod.ts";
import { bindGroup } from "../../../core/host/mod.ts";
import type { AccessWidth } from "../../../core/kernel.ts";
import type { GuestPciFunction, RootPortOptions } from "../../../core/machine/mod.ts";
import { AssignedFunction } from "../../../core/pci/mod.ts";
import { Releases } from "../../../core/release.ts";
import { Host, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { HostClock } from "../../../runner/host-clock.ts";
import { GuestMachine, guestProgram, type SlotState } from "../../../runner/machine/mod.ts";
import { FakeFunction } from "../../core/machine/fake-function.ts";

const NVME = "0000:05:00.0";
const EDU = "0000:01:00.0";

const cleanups = new Releases();
afterEach(() => cleanups[Symbol.dispose]());

/** A function with a BAR of 1 GiB, and no driver for it. */
class LargeFunction extends FakeFunction {
	constructor() {
		super("large", [{ size: 1 << 30 }]);
	}

	override configRead(offset: number, width: AccessWidth): number {
		return offset === 0x10 ? (super.configRead(offset, width) & 0xc000_0000) >>> 0 : super.configRead(offset, width);
	}

	override configWrite(offset: number, width: AccessWidth, value: number): void {
		if (offset === 0x10 && width === 4) this.config.setUint32(offset, value, true);
	}
}

/** A simulated Linux, and a guest that runs beside it with root ports, two unless told otherwise. */
async function boot(commandLine: string, ports: Record<string, RootPortOptions> = { rp1: {}, rp2: {} }) {
	const clock = new HostClock();
	cleanups.defer(() => clock.stop());
	const host = Host.reference();
	const linux = new SimulatedLinux({ host, clock });
	const kernel = linux.process();
	const machine = await GuestMachine.create({
		kernel,
		program: guestProgram(),
		commandLine,
		timeLimit: 20_000,
	});
	const addressSpace = new IoAddressSpace(kernel, { memory: machine.memory });
	const { topology } = machine;
	for (const [id, options] of Object.entries(ports)) topology.addRootPort(id, options);
	const functions = new Map<string, AssignedFunction>();
	const holders = new Map<GuestPciFunction, Releases>();
	const log: string[] = [];
	const lines: string[] = [];
	const unplugged: string[] = [];
	const results = new Map<string, string>();
	const reactions = new Map<string, () => void>();
	/** Once, and a moment later: the guest is in the middle of an access. */
	const react = (to: string) => {
		const reaction = reactions.get(to);
		reactions.delete(to);
		if (reaction) setImmediate(reaction);
	};
	machine.onEvent((event) => {
		if (event.type === "console") lines.push(event.line);
		if (event.type === "result") {
			results.set(event.name, event.value);
			react(event.name);
		} else if (event.type === "slot") {
			log.push(`${event.slot} ${event.state}`);
			react(`${event.slot} ${event.state}`);
		}
	});
	topology.onHotPlug((event) => {
		if (event.type === "unplugged") {
			unplugged.push(event.function.name);
			holders.get(event.function)?.[Symbol.dispose]();
		}
		react(event.type === "slot" ? `slot ${event.powered ? "on" : "off"} ${event.power}` : event.type);
	});
	const assigned = (address: string) => {
		const fn = functions.get(address);
		if (!fn) throw new Error(`${address} is not assigned`);
		return fn;
	};
	const assign = (address: string) => {
		const releases = new Releases();
		releases.use(bindGroup(kernel, address));
		const device = releases.use(VfioDevice.open(kernel, address, { addressSpace }));
		const fn = releases.use(AssignedFunction.attach(device));
		functions.set(address, fn);
		holders.set(fn, releases);
		return fn;
	};
	return {
		topology,
		results,
		log,
		lines,
		unplugged,
		assign,
		when: (slot: number, state: SlotState, reaction: () => void) => void reactions.set(`${slot} ${state}`, reaction),
		onResult: (name: string, reaction: () => void) => void reactions.set(name, reaction),
		onEvent: (name: string, reaction: () => void) => void reactions.set(name, reaction),
		hotPlug: (address: string, bus: string) => topology.hotPlug(assign(address), { bus }),
		requestUnplug: (address: string) => topology.requestUnplug(assigned(address)),
		cancelUnplug: (address: string) => topology.cancelUnplug(assigned(address)),
		functionIn: (bus: string) => topology.bus(bus).functions[0] ?? expect.unreachable(),
		/** The hardware vanishes, and whoever runs the guest hears of it. */
		pullOut(address: string) {
			const hardware = host.machine.function(address);
			if (hardware) hardware.present = false;
			topology.unplug(assigned(address));
			holders.get(assigned(address))?.[Symbol.dispose]();
		},
		machine,
		stop: () => machine.stop(),
		async finish() {
			const outcome = await machine.run();
			await machine[Symbol.asyncDispose]();
			for (const releases of holders.values()) releases[Symbol.dispose]();
			clock.stop();
			const leaks = Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
			return { outcome, leaks, faults: linux.faults };
		},
	};
}

/** What happened at one slot. */
const at = (log: readonly string[], slot: number) =>
	log.filter((line) => line.startsWith(`${slot} `)).map((line) => line.split(" ")[1]);

describe("a guest with a hot-plug driver", () => {
	it.each([
		["msi", "msix"],
		["intx", "intx"],
	])("uses an NVMe controller that comes and goes, told by %s", async (slot, interrupt) => {
		const guest = await boot(`hotplug=1 slot-interrupt=${slot} interrupt=${interrupt} blocks=16`);
		guest.when(1, "empty", () => guest.hotPlug(NVME, "rp1"));
		guest.when(1, "ready", () => expect(guest.requestUnplug(NVME)).toBe("requested"));
		const { outcome, leaks, faults } = await guest.finish();
		expect(outcome).toMatchObject({ kind: "pass" });
		expect(at(guest.log, 1)).toEqual(["empty", "plugged", "ready", "requested", "empty"]);
		expect(guest.results.get("nvme0.interrupt")).toBe(interrupt);
		expect(guest.results.get("nvme0.read.blocks")).toBe("16");
		expect([leaks, faults]).toEqual([[], []]);
	});

	it("serves two slots: one device from the start, one before the guest looked, and again, and a large BAR", async () => {
		const guest = await boot("hotplug=4 interrupt=msix blocks=1 write=off");
		guest.topology.plug(guest.assign(EDU), { bus: "rp1" });
		guest.hotPlug(NVME, "rp2");
		// It finds that when it has booted.
		expect(guest.requestUnplug(EDU)).toBe("requested");
		guest.when(1, "empty", () => {
			guest.hotPlug(EDU, "rp1");
			guest.when(1, "ready", () => guest.requestUnplug(EDU));
		});
		guest.when(2, "ready", () => guest.requestUnplug(NVME));
		guest.when(2, "empty", () => {
			guest.topology.hotPlug(new LargeFunction(), { bus: "rp2" });
			guest.when(2, "ready", () => guest.topology.requestUnplug(guest.functionIn("rp2")));
		});
		const { outcome, leaks, faults } = await guest.finish();
		expect(outcome).toMatchObject({ kind: "pass" });
		const once = ["plugged", "ready", "requested", "empty"];
		expect(at(guest.log, 1)).toEqual([...once.slice(1), ...once]);
		expect(at(guest.log, 2)).toEqual([...once, ...once]);
		expect(guest.results.get("driven")).toBe("3");
		expect(guest.lines.filter((line) => line.includes("40000000 bytes"))).toEqual([
			expect.stringMatching(/at [8-d]0000000$/),
		]);
		expect([leaks, faults]).toEqual([[], []]);
	});

	it("copes with a device that is pulled out while it is driven, and drives the next one", async () => {
		const guest = await boot("hotplug=2 blocks=4000 write=off");
		guest.when(1, "empty", () => guest.hotPlug(NVME, "rp1"));
		guest.onResult("nvme0.serial", () => {
			guest.pullOut(NVME);
			guest.when(1, "empty", () => guest.hotPlug(EDU, "rp1"));
		});
		guest.when(1, "ready", () => guest.requestUnplug(EDU));
		const { outcome, leaks, faults } = await guest.finish();
		expect(outcome).toMatchObject({ kind: "pass" });
		expect(at(guest.log, 1)).toEqual([
			...["empty", "plugged", "lost", "empty"],
			...["plugged", "ready", "requested", "empty"],
		]);
		expect(guest.results.has("nvme0.interrupts")).toBe(false);
		expect(guest.results.get("edu0.interrupts")).toBe("11");
		expect([leaks, faults]).toEqual([[], []]);
	});

	it("keeps the device when the button is pressed again, and lets it go the next time", async () => {
		const guest = await boot("hotplug=1 button=10000");
		guest.topology.plug(guest.assign(EDU), { bus: "rp1" });
		guest.when(1, "ready", () => guest.requestUnplug(EDU));
		guest.onEvent("slot on blinking", () => {
			expect(() => guest.requestUnplug(EDU)).toThrow(/the guest is in the middle/);
			expect(guest.cancelUnplug(EDU)).toBe("requested");
		});
		guest.onEvent("unplug-refused", () => guest.pullOut(EDU));
		const { outcome, leaks } = await guest.finish();
		expect(outcome).toMatchObject({ kind: "pass" });
		expect(at(guest.log, 1)).toEqual(["ready", "requested", "kept", "lost", "empty"]);
		expect(leaks).toEqual([]);
	});

	it("can be one that begins and hangs: it keeps the device, and nothing is lost", async () => {
		const guest = await boot("hotplug=blink");
		guest.topology.plug(guest.assign(EDU), { bus: "rp1" });
		guest.when(1, "ready", () => guest.requestUnplug(EDU));
		guest.when(1, "stuck", () => {
			expect(() => guest.requestUnplug(EDU)).toThrow(/the guest is in the middle of plugging or unplugging/);
			void guest.stop();
		});
		const { outcome, leaks } = await guest.finish();
		expect(outcome.kind).toBe("stopped");
		expect([guest.unplugged, leaks]).toEqual([[], []]);
	});

	it("can be one that never answers: it loses the device at a reset of the machine, and starts anew", async () => {
		const guest = await boot("hotplug=ignore blocks=1 write=off", { rp1: {} });
		guest.topology.plug(guest.assign(EDU), { bus: "rp1" });
		guest.topology.plug(guest.assign(NVME));
		guest.when(1, "ready", () => guest.requestUnplug(EDU));
		guest.when(1, "ignored", () => {
			expect(guest.requestUnplug(EDU)).toBe("requested");
			guest.onResult("nvme0.interrupts", () => void guest.stop());
			void guest.machine.reset();
		});
		const { outcome, leaks, faults } = await guest.finish();
		expect(outcome.kind).toBe("stopped");
		expect(at(guest.log, 1)).toEqual(["ready", "ignored", "empty"]);
		expect(guest.lines.filter((line) => line.startsWith("NVMe controller 0"))).toHaveLength(2);
		expect([guest.unplugged, leaks, faults]).toEqual([[EDU], [], []]);
	});

	it("says so where no slot can be hot plugged", async () => {
		const guest = await boot("hotplug=1", { cold: { hotPlug: false } });
		expect((await guest.finish()).outcome).toMatchObject({ kind: "fail", reason: "no slot can be hot plugged" });
	});
});
