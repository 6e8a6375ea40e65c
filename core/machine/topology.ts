/**
 * A whole PCI topology: root bus, root ports, what is plugged, and how the processor reaches it.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { PciBus, PlugOptions } from "./bus.ts";
import type { AddressDecoder } from "./decoder.ts";
import { type EcamWindow, HostBridge } from "./host-bridge.ts";
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
		return port;
	}

	/** Plugs a function. @param options `bus` is the root bus when left out @throws VfioError `invalid-argument` */
	plug(fn: GuestPciFunction, options: PlugOptions & { readonly bus?: string | undefined } = {}): Placement {
		const bus = this.bus(options.bus ?? this.root.name);
		return { bus, address: bus.plug(fn, options) };
	}

	/** Takes a function out of whichever bus it is in; does nothing when it is in none. */
	unplug(fn: GuestPciFunction): void {
		for (const bus of [this.root, ...this.#ports.map((port) => port.secondary)]) {
			if (bus.addressOf(fn) !== undefined) bus.unplug(fn);
		}
		const port = this.#ports.indexOf(fn as RootPort);
		if (port >= 0) this.#ports.splice(port, 1);
	}

	/** The machine was reset. */
	reset(): void {
		this.root.reset();
		this.hostBridge.portWrite(0xcf8, 4, 0);
	}

	/** Unplugs everything, last plugged first as far as buses tell; the functions themselves stay their owner's. */
	[Symbol.dispose](): void {
		for (const fn of this.root.functions.reverse()) this.root.unplug(fn);
		this.#ports.length = 0;
	}
}
