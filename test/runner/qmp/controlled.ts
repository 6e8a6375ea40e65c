import type { Kernel } from "../../../core/kernel.ts";
import { PciTopology, type RootPort } from "../../../core/machine/mod.ts";
import { type QmpDialect, QmpMonitor, type QmpSession } from "../../../core/qmp/mod.ts";
import { Host, SimulatedLinux } from "../../../kernel-sim/mod.ts";
import { BoundGroups } from "../../../runner/bound-groups.ts";
import { type AssignedDevice, DeviceHost } from "../../../runner/device-host.ts";
import { ControlledMachine, type ControlledMachineOptions } from "../../../runner/qmp/mod.ts";
import { SlotDriver } from "../../core/machine/slot-driver.ts";
import { region, TestMemory } from "../../core/support/guest-memory.ts";

/** 2021-02-26T03:35:41.554250Z, the time in the seed's transcript. */
export const TIME = 1_614_310_541_554_250;

/** Everything that is due at this moment has run. */
export const soon = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A machine with three root ports, pcie.1 to pcie.3, on a simulated Linux; its guest is a hot-plug driver for each port. */
export class Controlled implements Disposable {
	readonly linux: SimulatedLinux;
	readonly kernel: Kernel;
	/** What is in the machine, by id. */
	readonly devices = new Map<string | undefined, AssignedDevice>();
	readonly topology = new PciTopology({ pin() {}, message() {} });
	readonly machine: ControlledMachine;
	readonly monitor: QmpMonitor;
	/** What happened to the processor, in order. */
	readonly processor: string[] = [];
	readonly reports: string[] = [];
	session: QmpSession;
	readonly #memory: Disposable;
	#received = "";

	constructor(
		options: {
			dialect?: QmpDialect;
			host?: Host;
			linux?: SimulatedLinux;
			/** Between the machine and its kernel. */
			wrap?: (kernel: Kernel) => Kernel;
		} & Partial<ControlledMachineOptions> = {},
	) {
		const { dialect = "wire", host = Host.reference(), linux, wrap = (kernel) => kernel, ...more } = options;
		this.linux = linux ?? new SimulatedLinux({ host });
		this.kernel = wrap(this.linux.process());
		const { topology, kernel } = this;
		const rootPorts = ["pcie.1", "pcie.2", "pcie.3"].map((id) => ({ id, options: {} }));
		for (const { id, options: port } of rootPorts) topology.addRootPort(id, port);
		const memory = kernel.allocate(1 << 20);
		this.#memory = memory;
		const onReport = (message: string) => void this.reports.push(message);
		this.machine = new ControlledMachine({
			clock: kernel.clock,
			topology,
			processor: {
				pause: async () => void this.processor.push("pause"),
				resume: () => void this.processor.push("resume"),
				reset: async () => {
					topology.reset();
					this.processor.push("reset");
				},
				end: () => void this.processor.push("end"),
			},
			host: new DeviceHost({
				kernel,
				memory: new TestMemory([region(0n, memory.length, { memory })]),
				topology,
				onReport,
			}),
			groups: new BoundGroups(kernel),
			parts: { rootPorts, iommufds: [] },
			oneReference: dialect === "doc",
			tell: (event) => this.monitor.tell(event),
			onReport,
			onAssigned: ({ id }, assigned) => void this.devices.set(id, assigned),
			...more,
		});
		this.monitor = new QmpMonitor({
			machine: this.machine,
			dialect,
			version: { major: 10, minor: 0, micro: 0, package: "vfio-ts" },
			now: () => TIME,
		});
		this.machine.start();
		this.session = this.connect();
	}

	connect(): QmpSession {
		return this.monitor.connect((text) => {
			this.#received += text;
			return undefined;
		});
	}

	port(id: string): RootPort {
		const port = this.topology.rootPorts.find(({ name }) => name === id);
		if (!port) throw new Error(`There is no port ${id}`);
		return port;
	}

	guest(id: string): SlotDriver {
		return new SlotDriver(this.port(id));
	}

	/** Everything that was received since the last call, once nothing moves any more. */
	async received(): Promise<string> {
		await soon();
		this.linux.clock.settle();
		await soon();
		const received = this.#received;
		this.#received = "";
		return received;
	}

	/** A client that has negotiated. */
	async negotiated(): Promise<this> {
		await this.ask("qmp_capabilities");
		return this;
	}

	/** What was not given back, the machine's memory left out. */
	leaks(): string[] {
		const counts = Object.entries(this.linux.leaks()).filter(([, count]) => count !== 0);
		return counts.map(([what, count]) => `${count} ${what}`);
	}

	/** Sends a command and takes what was received for it. */
	async ask(execute: string, args?: Readonly<Record<string, unknown>>): Promise<string[]> {
		void this.session.receive(`${JSON.stringify({ execute, ...(args ? { arguments: args } : {}) })}\n`);
		return (await this.received()).split("\r\n").slice(0, -1);
	}

	[Symbol.dispose](): void {
		this.machine[Symbol.dispose]();
		this.#memory[Symbol.dispose]();
	}
}
