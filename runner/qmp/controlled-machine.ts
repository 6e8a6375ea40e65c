import type { Clock } from "../../core/kernel.ts";
import type { GuestPciFunction } from "../../core/machine/machine.ts";
import type { PciTopology } from "../../core/machine/topology.ts";
import type { AssignedFunction } from "../../core/pci/assigned-function.ts";
import type { FunctionEvent } from "../../core/pci/events.ts";
import {
	type DeviceRequest,
	type MachineEvent,
	type PciBusInfo,
	Peripherals,
	pciInfo,
	QmpError,
	type QmpMachine,
	type RunState,
} from "../../core/qmp/mod.ts";
import { Releases } from "../../core/release.ts";
import type { BoundGroups } from "../bound-groups.ts";
import type { DeviceOption } from "../cli/device-option.ts";
import { checkDevice, type MachineOptions } from "../cli/machine-options.ts";
import type { AssignedDevice, DeviceHost } from "../device-host.ts";
import { deviceRequestOption, isOn, REQUIRE_ROOM } from "./device-request.ts";

/** The processor of a machine that is controlled, with everything that is reset along with it. */
export interface ControlledProcessor {
	/** Has it stand still. */
	pause(): Promise<void>;
	/** Lets it go on, or start. */
	resume(): void;
	/** Resets the machine; it then runs if it ran before. */
	reset(): Promise<void>;
	/** Ends the machine. */
	end(): void;
}

/** What a {@link ControlledMachine} is made of. */
export interface ControlledMachineOptions {
	readonly clock: Clock;
	readonly topology: PciTopology;
	readonly processor: ControlledProcessor;
	/** Opens devices. */
	readonly host: DeviceHost;
	/** Gives their groups to vfio-pci, and back. */
	readonly groups: BoundGroups;
	/** What a device may refer to. */
	readonly parts: Pick<MachineOptions, "rootPorts" | "iommufds">;
	/** A device names itself by `host` or by `sysfsdev`, never by both, as StratoVirt has it; QEMU takes `sysfsdev` then. */
	readonly oneReference?: boolean;
	/** Learns of what happens. */
	readonly tell: (event: MachineEvent) => void;
	readonly onReport: (message: string) => void;
	/** Learns of each device that is in the machine, before the guest sees it. */
	readonly onAssigned?: (option: DeviceOption, assigned: AssignedDevice) => void;
	/** Nanoseconds that a guest has to let go of a device; 5 s when left out. */
	readonly patience?: number;
}

/** A guest machine in the hands of QMP: its devices, and whether it runs. Disposing it takes every device out. */
export class ControlledMachine implements QmpMachine, Disposable {
	readonly #options: ControlledMachineOptions;
	readonly #devices: Peripherals;
	#state: RunState = "prelaunch";

	constructor(options: ControlledMachineOptions) {
		this.#options = options;
		const { topology, clock, tell, onReport, patience } = options;
		this.#devices = new Peripherals({
			topology,
			clock,
			tell,
			onReport,
			...(patience === undefined ? {} : { patience }),
		});
	}

	get state(): RunState {
		return this.#state;
	}

	pci(): readonly PciBusInfo[] {
		return pciInfo(this.#options.topology, (fn) => this.#devices.idOf(fn) ?? this.#portName(fn));
	}

	/** Puts a device into the machine before the guest starts. @throws QmpError when its id is taken; VfioError as `DeviceHost.assign` */
	assign(option: DeviceOption): AssignedDevice {
		const { host, groups } = this.#options;
		this.#devices.requireFree(option.id);
		const releases = new Releases();
		try {
			releases.use(groups.hold(option.reference));
			const assigned = releases.use(host.assign(option, (fn) => this.#attached(fn)));
			this.#options.onAssigned?.(option, assigned);
			this.#devices.register(option.id, assigned.function, releases.move());
			return assigned;
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/** The guest starts. */
	start(): void {
		this.#state = "running";
		this.#options.processor.resume();
	}

	async stop(): Promise<void> {
		if (this.#state !== "running") return;
		await this.#halt("paused");
	}

	cont(): void {
		if (this.#state === "internal-error")
			throw new QmpError({
				type: "failed",
				reason: "Resetting the Virtual Machine is required: a device failed. To mend it: system_reset; then cont",
			});
		if (this.#state !== "prelaunch" && this.#state !== "paused") return;
		this.#state = "running";
		this.#options.processor.resume();
		this.#options.tell({ type: "resume" });
	}

	async reset(): Promise<void> {
		this.#requireAlive();
		await this.#options.processor.reset();
		if (this.#state === "internal-error") this.#state = "paused";
		this.#options.tell({ type: "reset", guest: false, reason: "host-qmp-system-reset" });
	}

	quit(): void {
		this.#end(false, "host-qmp-quit");
	}

	/** The guest has ended by itself. */
	guestEnded(): void {
		this.#end(true, "guest-shutdown");
	}

	/** Whoever started the program wants it to end. */
	interrupted(): void {
		this.#end(false, "host-signal");
	}

	addDevice(request: DeviceRequest): void {
		this.#requireAlive();
		const { host, groups, parts, oneReference = false } = this.#options;
		const option = deviceRequestOption(request, oneReference);
		checkDevice(option, { devices: [], ...parts });
		const { id, bus, addr: address, multifunction } = option;
		const requireRoom = isOn(request.properties[REQUIRE_ROOM]);
		this.#devices.add({ id, bus, address, multifunction, requireRoom }, () => {
			const releases = new Releases();
			try {
				releases.use(groups.hold(option.reference));
				const opened = releases.use(host.open(option, (fn) => this.#attached(fn)));
				const placement = this.#options.topology.checkHotPlug({ bus, address, multifunction }, opened.function.name);
				this.#options.onAssigned?.(option, { ...opened, placement });
				const held = releases.move();
				return { function: opened.function, [Symbol.dispose]: () => held[Symbol.dispose]() };
			} finally {
				releases[Symbol.dispose]();
			}
		});
	}

	deleteDevice(id: string): Promise<void> {
		this.#requireAlive();
		return this.#devices.delete(id);
	}

	[Symbol.dispose](): void {
		this.#state = "shutdown";
		this.#devices[Symbol.dispose]();
	}

	/** What came after its end would be given back by nobody. */
	#requireAlive(): void {
		if (this.#state === "shutdown") throw new QmpError({ type: "failed", reason: "The machine has ended" });
	}

	async #halt(state: RunState): Promise<void> {
		this.#state = state;
		await this.#options.processor.pause();
		this.#options.tell({ type: "stop" });
	}

	#end(guest: boolean, reason: string): void {
		if (this.#state === "shutdown") return;
		this.#state = "shutdown";
		this.#options.tell({ type: "shutdown", guest, reason });
		this.#options.processor.end();
	}

	#attached(fn: AssignedFunction): void {
		fn.onEvent((event) => this.#happened(fn, event));
	}

	#happened(fn: AssignedFunction, event: FunctionEvent): void {
		const id = this.#devices.idOf(fn) ?? fn.name;
		if (event.type === "device-error") {
			this.#options.tell({ type: "device-error", id });
			// As QEMU: what the device wrote may be wrong, so that somebody must decide before the guest goes on.
			if (this.#state === "running") void this.#halt("internal-error");
		} else if (event.type === "device-requested") {
			const { count, action } = event;
			this.#options.tell({ type: "device-requested", id, count, action });
			if (action === "force") this.#devices.remove(fn);
			else if (action === "ask") this.#ask(id);
		}
	}

	/** Asks the guest for a device that the host wants back. That it has been asked already is no news. */
	#ask(id: string): void {
		const report = (error: unknown) => this.#options.onReport((error as Error).message);
		try {
			this.#devices.delete(id).catch(report);
		} catch (error) {
			if (!(error instanceof QmpError)) report(error);
		}
	}

	#portName(fn: GuestPciFunction): string | undefined {
		return this.#options.topology.rootPorts.find((port) => port === fn)?.name;
	}
}
