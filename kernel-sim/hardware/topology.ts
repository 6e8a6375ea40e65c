/**
 * The PC: buses with functions on them, an IOMMU, an interrupt controller.
 *
 * @module
 */
import { VfioError } from "../../core/errors.ts";
import { comparePciAddresses, formatPciAddress, type PciAddress, parsePciAddress } from "../../core/host/address.ts";
import type { Clock } from "../../core/kernel.ts";
import { PCI_PRIMARY_BUS } from "../../core/uapi/pci_regs.ts";
import { VirtualClock } from "../clock.ts";
import type { DmaSource } from "./dma-source.ts";
import { PciFunction, type SystemBus } from "./function.ts";
import { type GroupingTopology, sharedGroup } from "./groups.ts";
import { InterruptController } from "./interrupts.ts";
import { Iommu, type IommuOptions, MESSAGE_WINDOW_END, MESSAGE_WINDOW_START } from "./iommu.ts";
import { store } from "./little-endian.ts";
import type { PlatformHardware, PlatformInterconnect } from "./platform/hardware.ts";
import type { VirtualFunctionChange } from "./sriov.ts";
import { describeVirtualFunction } from "./virtual-function.ts";

/** Options of {@link Machine}. */
export interface MachineOptions extends IommuOptions {
	/** Where its devices take time from; a virtual clock when left out. */
	readonly clock?: Clock;
	/** Messages go through a remapping table; true when left out. */
	readonly interruptRemapping?: boolean;
	/** There is an IOMMU, and so there are groups; true when left out. */
	readonly iommu?: boolean;
}

/** Options of {@link Machine.plug}. */
export interface PlugOptions {
	/** The IOMMU group it is in, where that is known; computed from the topology when left out. */
	readonly group?: number;
}

/** Told when functions come and go. */
export interface MachineListener {
	plugged?(fn: PciFunction): void;
	/** It is gone already: it reads as all ones. */
	unplugged?(fn: PciFunction): void;
	platformPlugged?(device: PlatformHardware): void;
	platformUnplugged?(device: PlatformHardware): void;
}

/**
 * A machine and the PCI functions in it.
 *
 * Where a bridge leads is its secondary bus number at the time it is plugged in, and stays so when a reset clears the
 * register; a bus that no bridge leads to is a root bus.
 *
 * @example
 * ```ts
 * const machine = new Machine();
 * machine.plug("0000:00:08.0", new PciFunction(rootPort({ secondary: 1, slot: 1 })));
 * machine.plug("0000:01:00.0", new PciFunction(Edu.description(), new Edu()));
 * machine.groups.get(1)?.map(({ address }) => address.bus); // [1]
 * ```
 */
export class Machine implements SystemBus, PlatformInterconnect, GroupingTopology {
	/** What the devices take time from. */
	clock: Clock;
	readonly hasIommu: boolean;
	readonly interrupts: InterruptController;
	readonly iommu: Iommu;
	/** In address order. Replaced, never changed, so that a loop over it survives a plug. */
	#functions: readonly PciFunction[] = [];
	readonly #byName = new Map<string, PciFunction>();
	/** The bridge that leads to a bus, by `domain:bus`. */
	readonly #bridges = new Map<string, PciFunction>();
	readonly #pinned = new Map<PciFunction, number>();
	readonly #groupIds = new Map<PciFunction, number>();
	/** By name, with the group of each, which it has to itself. */
	readonly #platform = new Map<string, { readonly device: PlatformHardware; group: number | undefined }>();
	readonly #listeners = new Set<MachineListener>();
	readonly #message = new Uint8Array(4);

	constructor(options: MachineOptions = {}) {
		this.clock = options.clock ?? new VirtualClock();
		this.hasIommu = options.iommu ?? true;
		this.interrupts = new InterruptController({ remapping: options.interruptRemapping ?? true });
		this.iommu = new Iommu(this.interrupts, options);
	}

	/**
	 * Plugs a function in.
	 *
	 * @param address such as `0000:05:00.0`
	 * @returns the function
	 * @throws VfioError `malformed-address`; `invalid-argument` when there is one already
	 */
	plug(address: string | PciAddress, fn: PciFunction, options: PlugOptions = {}): PciFunction {
		const at = typeof address === "string" ? parsePciAddress(address) : address;
		const name = formatPciAddress(at);
		if (this.#byName.has(name))
			throw new VfioError("invalid-argument", `Cannot plug a function in at ${name}: there is one`, { device: name });
		if (this.#functions.includes(fn))
			throw new VfioError("invalid-argument", `Cannot plug a function in at ${name}: it is at ${nameOf(fn)} already`);
		fn.address = at;
		fn.onIntx = (asserted) => this.interrupts.line(fn, asserted);
		this.#byName.set(name, fn);
		this.#functions = [...this.#functions, fn].sort((a, b) => comparePciAddresses(a.address, b.address));
		if (fn.isBridge) {
			store(fn.config, PCI_PRIMARY_BUS, 1, at.bus);
			const below = busName(at.domain, fn.secondaryBus);
			// A bus below has a higher number (PCI-to-PCI Bridge 1.2, section 3.2.5.4): registers that say otherwise were never
			// programmed, and following them could lead round in a circle.
			if (fn.secondaryBus > at.bus && !this.#bridges.has(below)) this.#bridges.set(below, fn);
		}
		if (options.group !== undefined) this.#pinned.set(fn, options.group);
		fn.connect(this);
		for (const listener of this.#listeners) listener.plugged?.(fn);
		return fn;
	}

	/**
	 * Pulls a function out, with its virtual functions, and everything below it if it is a bridge.
	 *
	 * @throws VfioError `no-such-device`
	 */
	unplug(address: string | PciAddress): void {
		const fn = this.function(address);
		if (!fn) {
			const name = typeof address === "string" ? address : formatPciAddress(address);
			throw new VfioError("no-such-device", `Cannot unplug ${name}: there is nothing`, { device: name });
		}
		for (const child of [...this.childrenOf(fn), ...this.virtualFunctionsOf(fn)]) this.unplug(child.address);
		this.#byName.delete(nameOf(fn));
		this.#functions = this.#functions.filter((other) => other !== fn);
		for (const [bus, bridge] of this.#bridges) if (bridge === fn) this.#bridges.delete(bus);
		fn.disconnect();
		for (const listener of this.#listeners) listener.unplugged?.(fn);
		this.#pinned.delete(fn);
		this.#groupIds.delete(fn);
		this.iommu.detach(fn);
		fn.onIntx = () => {};
	}

	/**
	 * Connects a platform device. It has an IOMMU group to itself.
	 *
	 * @returns the device
	 * @throws VfioError `invalid-argument` when there is one of that name already
	 */
	plugPlatform(device: PlatformHardware): PlatformHardware {
		const { name } = device;
		if (this.#platform.has(name) || device.present)
			throw new VfioError("invalid-argument", `Cannot plug ${name} in: there is one`, { device: name });
		this.#platform.set(name, { device, group: undefined });
		device.connect(this);
		for (const listener of this.#listeners) listener.platformPlugged?.(device);
		return device;
	}

	/** Takes a platform device out. @throws VfioError `no-such-device` */
	unplugPlatform(name: string): void {
		const device = this.#platform.get(name)?.device;
		if (!device) throw new VfioError("no-such-device", `Cannot unplug ${name}: there is nothing`, { device: name });
		device.disconnect();
		for (const listener of this.#listeners) listener.platformUnplugged?.(device);
		this.#platform.delete(name);
		this.iommu.detach(device);
	}

	/** In the order they were plugged in. */
	get platformDevices(): readonly PlatformHardware[] {
		return [...this.#platform.values()].map(({ device }) => device);
	}

	/** The id of a platform device's IOMMU group; undefined on a machine without an IOMMU. */
	platformGroupOf(device: PlatformHardware): number | undefined {
		this.#assignGroups();
		const entry = this.#platform.get(device.name);
		if (!entry || !this.hasIommu) return undefined;
		entry.group ??= this.#freeGroup();
		return entry.group;
	}

	/** Tells when functions come and go. @returns dispose it to stop */
	listen(listener: MachineListener): Disposable {
		this.#listeners.add(listener);
		return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
	}

	/** @throws VfioError `malformed-address` */
	function(address: string | PciAddress): PciFunction | undefined {
		return this.#byName.get(formatPciAddress(typeof address === "string" ? parsePciAddress(address) : address));
	}

	/** In address order. */
	get functions(): readonly PciFunction[] {
		return this.#functions;
	}

	/** The bridge above, undefined on a root bus. */
	bridgeOf(fn: PciFunction): PciFunction | undefined {
		// Routing ids of virtual functions can run over into bus numbers that only their physical function's port knows.
		if (fn.virtual) return this.bridgeOf(fn.virtual.physical);
		return this.#bridges.get(busName(fn.address.domain, fn.address.bus));
	}

	/** The functions on the bus right below a bridge, in address order. */
	childrenOf(bridge: PciFunction): PciFunction[] {
		return this.#functions.filter((fn) => this.bridgeOf(fn) === bridge);
	}

	/** The virtual functions of a physical one, in the order of their index. */
	virtualFunctionsOf(physical: PciFunction): PciFunction[] {
		return this.#functions.filter((fn) => fn.virtual?.physical === physical);
	}

	/** All functions in the same slot, itself included, in address order. */
	slotOf(fn: PciFunction): readonly PciFunction[] {
		const { domain, bus, device } = fn.address;
		return this.#functions.filter(
			({ address }) => address.domain === domain && address.bus === bus && address.device === device,
		);
	}

	/**
	 * IOMMU groups by id. They are made when first asked for, in address order, as Linux does at boot; a function that
	 * comes later joins one or gets the lowest free id.
	 */
	get groups(): ReadonlyMap<number, readonly PciFunction[]> {
		this.#assignGroups();
		const groups = new Map<number, PciFunction[]>();
		for (const fn of this.#functions) {
			const id = this.#groupIds.get(fn);
			if (id === undefined) continue;
			const members = groups.get(id);
			if (members) members.push(fn);
			else groups.set(id, [fn]);
		}
		return new Map([...groups].sort(([a], [b]) => a - b));
	}

	/** The id of the function's IOMMU group; undefined on a machine without an IOMMU. */
	groupOf(fn: PciFunction): number | undefined {
		this.#assignGroups();
		return this.#groupIds.get(fn);
	}

	/** Secondary bus reset: everything below the bridge. */
	resetBus(bridge: PciFunction): void {
		for (const child of this.childrenOf(bridge)) {
			this.resetBus(child);
			child.reset();
		}
	}

	// ---- SystemBus and PlatformInterconnect: what functions and platform devices call ----

	dmaRead(source: DmaSource, address: bigint, into: Uint8Array): boolean {
		return this.iommu.read(source, address, into);
	}

	dmaWrite(source: DmaSource, address: bigint, from: Uint8Array): boolean {
		return this.iommu.write(source, address, from);
	}

	virtualFunctions(physical: PciFunction, change: VirtualFunctionChange): void {
		const present = this.virtualFunctionsOf(physical);
		if (change === "appear") this.#makeVirtualFunctions(physical, present);
		else if (change === "vanish") for (const fn of present) this.unplug(fn.address);
		else
			for (const fn of present) {
				fn.reset();
				fn.present = false;
			}
	}

	message(fn: PciFunction, address: bigint, data: number): void {
		const at = Number(address);
		if (at >= MESSAGE_WINDOW_START && at < MESSAGE_WINDOW_END) {
			this.interrupts.deliver(fn, address, data);
			return;
		}
		// Any other address is plain memory, and the message a write to it.
		store(this.#message, 0, 4, data);
		this.iommu.write(fn, address, this.#message);
	}

	/** @param hidden those that were there before a reset: they come back as they are, since software still knows them */
	#makeVirtualFunctions(physical: PciFunction, hidden: readonly PciFunction[]): void {
		const sriov = physical.sriov;
		if (!sriov) return;
		for (const fn of hidden) if ((fn.virtual?.index ?? 0) >= sriov.count) this.unplug(fn.address);
		for (let index = 0; index < sriov.count; index++) {
			const address = sriov.address(physical.address, index);
			if (!address) return;
			const known = this.function(address);
			if (known) {
				if (known.virtual?.physical === physical) known.present = true;
				continue;
			}
			const { description, model } = describeVirtualFunction(physical, sriov, index);
			this.plug(address, new PciFunction(description, model, { physical, index }));
		}
	}

	#assignGroups(): void {
		if (!this.hasIommu || this.#groupIds.size === this.#functions.length) return;
		for (const [fn, id] of this.#pinned) this.#groupIds.set(fn, id);
		const assigned: GroupingTopology = {
			bridgeOf: (fn) => this.bridgeOf(fn),
			slotOf: (fn) => this.slotOf(fn),
			groupOf: (fn) => this.#groupIds.get(fn),
		};
		for (const fn of this.#functions) {
			if (this.#groupIds.has(fn)) continue;
			this.#groupIds.set(fn, sharedGroup(fn, assigned) ?? this.#freeGroup());
		}
	}

	#freeGroup(): number {
		const taken = new Set<number | undefined>(this.#groupIds.values());
		for (const { group } of this.#platform.values()) taken.add(group);
		let id = 0;
		while (taken.has(id)) id++;
		return id;
	}
}

function nameOf(fn: PciFunction): string {
	return formatPciAddress(fn.address);
}

function busName(domain: number, bus: number): string {
	return `${domain}:${bus}`;
}
