import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { bindGroup } from "../../core/host/bind.ts";
import type { Memory } from "../../core/kernel.ts";
import {
	type GuestPciFunction,
	type HotPlugEvent,
	PciTopology,
	type RootPortOptions,
	type TopologyPlugOptions,
} from "../../core/machine/mod.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { Releases } from "../../core/release.ts";
import { Edu, type Host, Nvme, type SimProcess, SimulatedLinux, VirtualClock } from "../../kernel-sim/mod.ts";
import { hostWith } from "../kernel-sim/vfio-pci/bench.ts";
import { type GuestManners, HotPlugGuest } from "./hot-plug-guest.ts";
import { FixedMemory } from "./scripted-guest.ts";

export const EDU = "0000:01:00.0";
export const NVME = "0000:02:00.0";

/** A host with an edu device and an NVMe controller. */
export function smallHost(): Host {
	return hostWith({ [EDU]: [Edu.description(), new Edu()], [NVME]: [Nvme.description(), new Nvme()] });
}

/** What a {@link HotPlugBench} is made of. */
export interface BenchOptions extends GuestManners {
	readonly host?: Host;
	/** By id; `rp1` and `rp2` when left out. */
	readonly ports?: Readonly<Record<string, RootPortOptions>>;
}

/** A VMM that plugs devices of a simulated Linux into a scripted guest while it runs. */
export class HotPlugBench implements Disposable {
	readonly clock = new VirtualClock();
	readonly linux: SimulatedLinux;
	readonly host: Host;
	readonly kernel: SimProcess;
	readonly memory: Memory;
	readonly pci: PciTopology;
	readonly guest: HotPlugGuest;
	/** What the topology told, in words. */
	readonly events: string[] = [];
	readonly #addressSpace: IoAddressSpace;
	readonly #holders = new Map<GuestPciFunction, Releases>();
	/** Groups stay with vfio-pci: the functions of one come and go by themselves. */
	readonly #groups = new Releases();
	readonly #bound = new Set<string>();

	constructor({ host = smallHost(), ports = { rp1: {}, rp2: {} }, ...manners }: BenchOptions = {}) {
		this.host = host;
		this.linux = new SimulatedLinux({ host, clock: this.clock });
		this.kernel = this.linux.process();
		this.memory = this.kernel.allocate(1 << 20);
		this.#addressSpace = new IoAddressSpace(this.kernel, { memory: new FixedMemory(this.memory) });
		this.pci = new PciTopology({
			pin: (device, pin, asserted) => this.guest.pin(device, pin, asserted),
			message: (address, data) => this.guest.message(address, data),
		});
		this.guest = new HotPlugGuest(this.pci, manners);
		for (const [id, options] of Object.entries(ports)) this.pci.addRootPort(id, options);
		this.pci.onHotPlug((event) => this.#happened(event));
	}

	/** Binds and opens a device, and maps the guest's memory for it. */
	assign(address: string): AssignedFunction {
		const releases = new Releases();
		try {
			if (!this.#bound.has(address)) this.#groups.use(bindGroup(this.kernel, address));
			this.#bound.add(address);
			const device = releases.use(VfioDevice.open(this.kernel, address, { addressSpace: this.#addressSpace }));
			const fn = releases.use(AssignedFunction.attach(device));
			this.#holders.set(fn, releases.move());
			return fn;
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** Plugs a device while the guest runs; nothing is left of it when that fails. */
	hotPlug(address: string, bus: string, options: TopologyPlugOptions = {}): AssignedFunction {
		this.pci.checkHotPlug({ ...options, bus }, address);
		const fn = this.assign(address);
		try {
			this.pci.hotPlug(fn, { ...options, bus });
			return fn;
		} catch (error) {
			this.giveBack(fn);
			throw error;
		}
	}

	/** The same, and the guest takes it in. */
	use(address: string, bus: string): AssignedFunction {
		const fn = this.hotPlug(address, bus);
		this.guest.run();
		this.events.length = 0;
		return fn;
	}

	/** Plugs a device in, has the guest take it in and let go of it, and gives it back. */
	cycle(address: string, bus: string): void {
		const fn = this.use(address, bus);
		this.pci.requestUnplug(fn);
		this.guest.run();
		if (this.take().join() !== `unplugged ${address}`) throw new Error(`${address} did not leave ${bus}`);
		this.guest.slot(bus).log.length = 0;
	}

	/** Closes a device that is in no slot any more. */
	giveBack(fn: GuestPciFunction): void {
		const releases = this.#holders.get(fn);
		this.#holders.delete(fn);
		releases?.[Symbol.dispose]();
	}

	/** What happened since the last time, without what the guest switched. */
	take(): string[] {
		return this.events.splice(0).filter((event) => !event.startsWith("slot"));
	}

	/** Everything that the simulated Linux still holds for us. */
	get leaks(): Record<string, number> {
		return Object.fromEntries(Object.entries(this.linux.leaks()).filter(([, count]) => count !== 0));
	}

	[Symbol.dispose](): void {
		this.pci[Symbol.dispose]();
		for (const fn of [...this.#holders.keys()]) this.giveBack(fn);
		this.#groups[Symbol.dispose]();
		this.memory[Symbol.dispose]();
		this.clock.settle();
	}

	#happened(event: HotPlugEvent): void {
		if (event.type === "unplugged") {
			this.events.push(`unplugged ${event.function.name}`);
			this.giveBack(event.function);
		} else if (event.type === "unplug-refused") this.events.push("refused");
		else this.events.push(`slot ${event.bus.name} ${event.powered ? "on" : "off"} ${event.power}`);
	}
}
