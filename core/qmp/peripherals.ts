/**
 * The devices of a machine by their ids: `device_add` and `device_del`.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Clock } from "../kernel.ts";
import type { HotPlugEvent } from "../machine/hot-plug-event.ts";
import type { GuestPciFunction } from "../machine/machine.ts";
import type { PciTopology, TopologyPlugOptions } from "../machine/topology.ts";
import { missingRoom } from "../machine/window-room.ts";
import { Releases } from "../release.ts";
import type { MachineEvent } from "./events.ts";
import { QmpError } from "./fault.ts";

/** What {@link Peripherals} works with. */
export interface PeripheralsOptions {
	readonly topology: PciTopology;
	/** For the time until a guest may be asked again. */
	readonly clock: Clock;
	/** Learns of devices that have gone, and of those that the guest keeps. */
	readonly tell: (event: MachineEvent) => void;
	/** Learns of what failed while a device was given back; it has gone all the same. */
	readonly onReport?: (message: string) => void;
	/** Nanoseconds until a guest that has not answered may be asked again, and its first answer is no longer waited for. */
	readonly patience?: number;
}

/** A device that can be plugged in, with everything it stands on. */
export interface OpenedPeripheral extends Disposable {
	readonly function: GuestPciFunction;
}

/** How a device is added. */
export interface AddOptions extends TopologyPlugOptions {
	/** Undefined: nobody can ask for it to be removed. */
	readonly id: string | undefined;
	/** Refuse it when the guest's windows have no room for it; otherwise that is reported, since guests may enlarge them. */
	readonly requireRoom?: boolean;
}

interface Entry {
	readonly id: string | undefined;
	readonly owned: Disposable;
	/** Since when the guest has been asked, in nanoseconds of the clock; and who waits for its answer. */
	request: Request | undefined;
}

interface Request {
	readonly since: number;
	readonly done: Promise<void>;
	settle(error?: Error): void;
}

/** QEMU lets a guest be asked again after as long. */
const DEFAULT_PATIENCE = 5e9;

/**
 * The devices of a running machine. A device leaves in this order: out of its slot, closed, its event told; so that
 * whoever hears of the event can use it at once.
 *
 * @example
 * ```ts
 * const devices = new Peripherals({ topology, clock: kernel.clock, tell: (event) => monitor.tell(event) });
 * devices.add({ id: "disk", bus: "rp1" }, () => {
 *   const device = VfioDevice.open(kernel, "05:00.0");
 *   const fn = AssignedFunction.attach(device);
 *   return { function: fn, [Symbol.dispose]: () => (fn[Symbol.dispose](), device[Symbol.dispose]()) };
 * });
 * devices.delete("disk").catch((error) => console.log(error.message)); // settles when the guest has let go of it
 * devices[Symbol.dispose]();
 * ```
 */
export class Peripherals implements Disposable {
	readonly #options: PeripheralsOptions;
	readonly #entries = new Map<GuestPciFunction, Entry>();
	readonly #releases = new Releases();

	constructor(options: PeripheralsOptions) {
		this.#options = options;
		this.#releases.use(options.topology.onHotPlug((event) => this.#happened(event)));
	}

	/** Takes a device that is in the machine already, under an id. @throws QmpError when the id is taken */
	register(id: string | undefined, fn: GuestPciFunction, owned: Disposable): void {
		this.requireFree(id);
		this.#entries.set(fn, { id, owned, request: undefined });
	}

	/** Whether an id is free: ask before a device is opened. @throws QmpError when it is taken */
	requireFree(id: string | undefined): void {
		if (id === undefined) return;
		const taken = [...this.#entries.values()].some((entry) => entry.id === id);
		if (taken || this.#options.topology.busNames.includes(id)) throw new QmpError({ type: "duplicate-id", id });
	}

	/** The id of a function; undefined when it has none. */
	idOf(fn: GuestPciFunction): string | undefined {
		return this.#entries.get(fn)?.id;
	}

	/**
	 * Opens a device and plugs it in while the guest runs. What opening took is given back when it cannot be plugged in.
	 *
	 * @param open called once nothing else stands in the way
	 * @throws QmpError when the id is taken; VfioError `not-hot-pluggable`, `invalid-argument`, and what `open` throws
	 */
	add(options: AddOptions, open: () => OpenedPeripheral): void {
		const { topology } = this.#options;
		const { id, ...place } = options;
		this.requireFree(id);
		const { bus } = topology.checkHotPlug(place, id ?? "a device");
		const releases = new Releases();
		try {
			const opened = releases.use(open());
			const fn = opened.function;
			this.#entries.set(fn, { id, owned: opened, request: undefined });
			releases.defer(() => this.#entries.delete(fn));
			topology.hotPlug(fn, place);
			releases.defer(() => topology.unplug(fn));
			if (!options.requireRoom) this.#lookForRoom(fn, bus.name);
			releases.move();
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/**
	 * Asks the guest to let go of a device. A guest that has not answered may be asked again once its time is up.
	 *
	 * @returns settles when the device has gone; or rejects when the guest keeps it, or its time is up
	 * @throws QmpError when there is no such device, or the guest has just been asked; VfioError `guest-busy`,
	 *   `not-hot-pluggable`
	 */
	delete(id: string): Promise<void> {
		const [fn, entry] = this.#find(id);
		const { clock, topology, patience = DEFAULT_PATIENCE } = this.#options;
		if (entry.request) {
			if (clock.now() - entry.request.since < patience) throw new QmpError({ type: "unplugging-already", id });
			entry.request.settle(noAnswer(id, patience));
			entry.request = undefined;
		}
		const request = makeRequest(clock, patience, id);
		// The guest may let go of it before this returns.
		entry.request = request;
		try {
			topology.requestUnplug(fn);
		} catch (error) {
			entry.request = undefined;
			request.settle();
			throw error;
		}
		return request.done;
	}

	/** Takes a device out without asking the guest, which sees that it was pulled out. Does nothing when it has gone. */
	remove(fn: GuestPciFunction): void {
		const entry = this.#entries.get(fn);
		if (!entry) return;
		this.#attempt(() => this.#options.topology.unplug(fn));
		this.#gone(fn);
	}

	/** Takes every device out and gives it back, last added first; nobody is told. @throws what giving back throws */
	[Symbol.dispose](): void {
		for (const [fn, { owned, request }] of this.#entries) {
			this.#releases.use(owned);
			this.#releases.defer(() => this.#options.topology.unplug(fn));
			request?.settle();
		}
		this.#entries.clear();
		this.#releases[Symbol.dispose]();
	}

	#lookForRoom(fn: GuestPciFunction, bus: string): void {
		const port = this.#options.topology.rootPorts.find(({ name }) => name === bus);
		const bars = [0, 1, 2, 3, 4, 5].flatMap((index) => fn.bar(index) ?? []);
		const missing = port && missingRoom(bars, port.windows);
		if (missing !== undefined)
			this.#report(`${fn.name} is in ${bus}, but its ${missing}: the guest may fail to use it`);
	}

	#find(id: string): [GuestPciFunction, Entry] {
		const found = [...this.#entries].find(([, entry]) => entry.id === id);
		if (found) return found;
		if (this.#options.topology.rootPorts.some(({ name }) => name === id))
			throw new VfioError("not-hot-pluggable", `Cannot unplug ${id}: root ports stay for as long as the machine runs`);
		throw new QmpError({ type: "device-not-found", id });
	}

	#happened(event: HotPlugEvent): void {
		if (event.type === "unplugged") {
			if (event.error !== undefined) this.#report(event.error);
			this.#gone(event.function);
		} else if (event.type === "unplug-refused") {
			for (const { function: fn } of event.occupants) this.#kept(fn);
		}
	}

	/** It is out of its slot. */
	#gone(fn: GuestPciFunction): void {
		const entry = this.#entries.get(fn);
		if (!entry) return;
		this.#entries.delete(fn);
		this.#attempt(() => entry.owned[Symbol.dispose]());
		try {
			if (entry.id !== undefined) this.#options.tell({ type: "device-deleted", id: entry.id });
		} finally {
			entry.request?.settle();
		}
	}

	#kept(fn: GuestPciFunction): void {
		const entry = this.#entries.get(fn);
		if (!entry?.request) return;
		const id = entry.id ?? fn.name;
		this.#options.tell({ type: "unplug-refused", id });
		entry.request.settle(new VfioError("guest-busy", `Cannot unplug ${id}: the guest keeps it`, { device: fn.name }));
		entry.request = undefined;
	}

	#attempt(action: () => void): void {
		try {
			action();
		} catch (error) {
			this.#report(error);
		}
	}

	#report(error: unknown): void {
		this.#options.onReport?.(error instanceof Error ? error.message : String(error));
	}
}

function makeRequest(clock: Clock, patience: number, id: string): Request {
	let settle: (error?: Error) => void = () => {};
	const done = new Promise<void>((resolve, reject) => {
		settle = (error) => (error ? reject(error) : resolve());
	});
	// Who does not wait for the answer need not handle it.
	done.catch(() => {});
	const timer = clock.timer(patience, () => settle(noAnswer(id, patience)));
	return {
		since: clock.now(),
		done,
		settle: (error) => {
			timer[Symbol.dispose]();
			settle(error);
		},
	};
}

function noAnswer(id: string, patience: number): VfioError {
	return new VfioError("guest-busy", `Cannot unplug ${id}: the guest has not let go of it in ${patience / 1e9} s`, {
		device: id,
		remedy: [
			"The guest may be booting, stopped or without a driver for hot plug: ask again with device_del; it still finds the request.",
		],
	});
}
