/**
 * A whole PCI topology: root bus, root ports, what is plugged, and how the processor reaches it.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { Releases } from "../release.ts";
import type { HotPlugOptions, PciBus, PlugOptions } from "./bus.ts";
import type { AddressDecoder } from "./decoder.ts";
import { type EcamWindow, HostBridge } from "./host-bridge.ts";
import { type HotPlugEvent, tellAll } from "./hot-plug-event.ts";
import type { GuestPciFunction } from "./machine.ts";
import { RootBus, type RootBusOptions, type RootBusUpstream } from "./root-bus.ts";
import { RootPort } from "./root-port.ts";
import type { RootPortIdentity } from "./root-port-registers.ts";
import type { SlotAddress } from "./slot-address.ts";

/** Options of a {@link PciTopology}. */
export interface TopologyOptions extends RootBusOptions {
	/** Where the chipset's ECAM window is; none when left out. */
	readonly ecam?: EcamWindow;
}

/** Options of {@link PciTopology.addRootPort}. */
export interface RootPortOptions extends RootPortIdentity, PlugOptions {}

/** How to plug a function into a topology. */
export interface TopologyPlugOptions extends PlugOptions {
	/** The id of a root port, or the name of the root bus; the root bus when left out. */
	readonly bus?: string | undefined;
}

/** Where a function was plugged. */
export interface Placement {
	readonly bus: PciBus;
	readonly address: SlotAddress;
}

/**
 * What a VMM without PCI of its own takes as it is.
 *
 * @example
 * ```ts
 * const pci = new PciTopology({
 *   pin: (device, pin, asserted) => console.log("slot", device, "pin", pin, asserted ? "up" : "down"),
 *   message: (address, data) => console.log("message", data, "to", address),
 * });
 * pci.addRootPort("rp1", { address: parseSlotAddress("8") });
 * pci.plug(AssignedFunction.attach(device), { bus: "rp1" });
 * // The guest's port and memory accesses:
 * pci.hostBridge.portWrite(0xcf8, 4, 0x80004018); // the bus numbers of the root port at 00:08.0
 * pci.hostBridge.portWrite(0xcfc, 4, 0x00010100);
 * pci.hostBridge.portWrite(0xcf8, 4, 0x80010000); // vendor and device at 01:00.0
 * const id = pci.hostBridge.portRead(0xcfc, 4); // 0x00101b36
 * pci.decoder.memory.read(0xfd000000, 4);
 * ```
 */
export class PciTopology implements Disposable {
	readonly root: RootBus;
	readonly hostBridge: HostBridge;
	readonly #ports: RootPort[] = [];
	readonly #listeners = new Set<(event: HotPlugEvent) => void>();

	constructor(upstream: RootBusUpstream, options: TopologyOptions = {}) {
		this.root = new RootBus(upstream, options);
		this.hostBridge = new HostBridge(this.root, options.ecam === undefined ? {} : { ecam: options.ecam });
	}

	/** Which BAR decodes an address. */
	get decoder(): AddressDecoder {
		return this.root.decoder;
	}

	/** The root ports, in the order they were added. */
	get rootPorts(): readonly RootPort[] {
		return this.#ports;
	}

	/** The names that the option `bus` can have. */
	get busNames(): string[] {
		return [this.root.name, ...this.#ports.map((port) => port.name)];
	}

	/** The bus with this name. @throws VfioError `invalid-argument` */
	bus(name: string): PciBus {
		if (name === this.root.name) return this.root;
		const port = this.#ports.find((candidate) => candidate.name === name);
		if (port !== undefined) return port.secondary;
		throw new VfioError("invalid-argument", `Cannot use bus "${name}": there is no such bus`, {
			remedy: [`Use one of ${this.busNames.join(", ")}, or add a root port with the id ${name}`],
		});
	}

	/** Adds a root port to the root bus. @param id also the name of the bus below it @throws VfioError `invalid-argument` */
	addRootPort(id: string, options: RootPortOptions = {}): RootPort {
		if (id === "" || this.busNames.includes(id)) {
			const reason = id === "" ? "its id is empty" : "there is a bus of that name already";
			throw new VfioError("invalid-argument", `Cannot add root port "${id}": ${reason}`);
		}
		const port = new RootPort(id, { slot: this.#ports.length + 1, port: this.#ports.length + 1, ...options });
		this.root.plug(port, options);
		this.#ports.push(port);
		if (port.hotPlug) {
			port.hotPlug.onEvent = (event) => tellAll(this.#listeners, [event]);
		}
		return port;
	}

	/**
	 * Plugs a function before the guest starts; see {@link hotPlug} for afterwards.
	 *
	 * @throws VfioError `invalid-argument`
	 */
	plug(fn: GuestPciFunction, options: TopologyPlugOptions = {}): Placement {
		const bus = this.bus(options.bus ?? this.root.name);
		return { bus, address: bus.plug(fn, options) };
	}

	/**
	 * Whether a function could be plugged while the guest runs: ask before the device is opened.
	 *
	 * @param name how the error calls the function
	 * @returns where it would be
	 * @throws VfioError `not-hot-pluggable` for the root bus, a port without hot plug, an occupied slot, or a slot other than
	 *   0; `invalid-argument` for a bus that does not exist, and where functions of one slot do not agree
	 */
	checkHotPlug(options: TopologyPlugOptions = {}, name = "a device"): Placement {
		const bus = this.bus(options.bus ?? this.root.name);
		return { bus, address: bus.checkHotPlug(options, name) };
	}

	/**
	 * Plugs a function while the guest runs, and tells the guest by the port's interrupt. The guest decides when it gives the
	 * slot power; until then the function does not answer. Functions of a multifunction device: function 0 last.
	 *
	 * @example
	 * ```ts
	 * const pci = new PciTopology({ pin() {}, message() {} });
	 * const port = pci.addRootPort("rp1");
	 * pci.onHotPlug((event) => {
	 *   if (event.type === "unplugged") event.function[Symbol.dispose]();
	 * });
	 * // While the guest runs:
	 * const fn = AssignedFunction.attach(device);
	 * pci.hotPlug(fn, { bus: "rp1" });
	 * port.configWrite(0x58, 2, 0x01c0); // a guest's driver: slot control, power on, power indicator on
	 * pci.requestUnplug(fn); // "requested"
	 * port.configWrite(0x58, 2, 0x07c0); // power off, indicator off: the function is unplugged and disposed of
	 * const left = port.secondary.functions.length; // 0
	 * ```
	 * @throws VfioError as {@link checkHotPlug}, and what the function's `plug` throws; the slot is then as before
	 */
	hotPlug(fn: GuestPciFunction, options: TopologyPlugOptions & HotPlugOptions = {}): Placement {
		const bus = this.bus(options.bus ?? this.root.name);
		return { bus, address: bus.hotPlug(fn, options) };
	}

	/**
	 * Asks the guest to let go of a function, and so of all functions of its slot. Each of them is announced as `unplugged`
	 * by {@link onHotPlug}: during this call when the guest has no part in it (the slot is off, or has no function 0), later
	 * when the guest switches the slot off, or at a reset of the machine. A guest that is asleep may never answer.
	 *
	 * @throws VfioError `guest-busy` while the guest plugs or unplugs there, `not-hot-pluggable` on the root bus and below a
	 *   port without hot plug, `invalid-argument` when the function is not plugged in
	 */
	requestUnplug(fn: GuestPciFunction): "unplugged" | "requested" {
		return this.#busOf(fn, "unplug").requestUnplug(fn);
	}

	/**
	 * Takes a request back, if the guest lets it be taken back.
	 *
	 * @returns `requested` when the guest has begun: it answers by `unplug-refused`, or by `unplugged` when it was too late
	 * @throws VfioError `invalid-argument` when the function is not plugged in
	 */
	cancelUnplug(fn: GuestPciFunction): "cancelled" | "requested" {
		return this.#busOf(fn, "cancel unplugging").cancelUnplug(fn);
	}

	/** Hears of what happens at all slots. @returns dispose it to stop listening */
	onHotPlug(listener: (event: HotPlugEvent) => void): Disposable {
		const own = (event: HotPlugEvent): void => listener(event);
		this.#listeners.add(own);
		return { [Symbol.dispose]: () => void this.#listeners.delete(own) };
	}

	/**
	 * Takes a function out of whichever bus it is in, at once; does nothing when it is in none. A guest that runs sees that
	 * it was pulled out by surprise: presence and link are gone.
	 *
	 * @throws what the function's `unplug` throws; it is out all the same
	 */
	unplug(fn: GuestPciFunction): void {
		const bus = this.#buses.find((candidate) => candidate.addressOf(fn) !== undefined);
		const port = this.#ports.indexOf(fn as RootPort);
		if (port >= 0) this.#ports.splice(port, 1);
		bus?.unplug(fn);
	}

	/** The machine was reset. What the guest was asked to let go of leaves. */
	reset(): void {
		this.root.reset();
		this.hostBridge.portWrite(0xcf8, 4, 0);
	}

	get #buses(): PciBus[] {
		return [this.root, ...this.#ports.map((port) => port.secondary)];
	}

	#busOf(fn: GuestPciFunction, action: string): PciBus {
		const bus = this.#buses.find((candidate) => candidate.addressOf(fn) !== undefined);
		if (bus !== undefined) return bus;
		throw new VfioError("invalid-argument", `Cannot ${action} ${fn.name}: it is not plugged in`, { device: fn.name });
	}

	/**
	 * Unplugs everything, highest address first; the functions themselves stay their owner's.
	 *
	 * @throws what the functions' `unplug` throws, after all are out
	 */
	[Symbol.dispose](): void {
		const releases = new Releases();
		for (const fn of this.root.functions) releases.defer(() => this.root.unplug(fn));
		this.#ports.length = 0;
		releases[Symbol.dispose]();
	}
}
