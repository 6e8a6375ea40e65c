import type { BoundGroup } from "../core/host/bind.ts";
import type { Kernel } from "../core/kernel.ts";
import { formatSlotAddress } from "../core/machine/slot-address.ts";
import type { MachineEvent, QmpMachine } from "../core/qmp/mod.ts";
import { Releases } from "../core/release.ts";
import { type TracedCall, TracingKernel } from "../core/tracing-kernel.ts";
import { BoundGroups } from "./bound-groups.ts";
import type { DeviceOption } from "./cli/device-option.ts";
import type { IommufdOption } from "./cli/iommufd-option.ts";
import type { RootPortOption } from "./cli/root-port-option.ts";
import { type AssignedDevice, DeviceHost } from "./device-host.ts";
import { IommufdObjects } from "./iommufd-objects.ts";
import { GuestMachine, guestProgram } from "./machine/mod.ts";
import { ControlledMachine } from "./qmp/controlled-machine.ts";
import type { DeviceReport, RunReport } from "./run-report.ts";

/** Something that happens while the main job runs, for whoever shows it. */
export type RunEvent =
	| { readonly type: "bound"; readonly group: BoundGroup }
	| { readonly type: "assigned"; readonly device: DeviceReport }
	| { readonly type: "mapped"; readonly iova: bigint; readonly size: bigint }
	| { readonly type: "guest"; readonly line: string }
	| { readonly type: "interrupt-mode"; readonly address: string; readonly mode: string }
	| { readonly type: "report"; readonly message: string }
	| { readonly type: "machine"; readonly event: MachineEvent }
	| { readonly type: "call"; readonly call: TracedCall };

/** Somebody who controls the machine of a main job. */
export interface MachineControl {
	/** Learns of what happens in it. */
	tell(event: MachineEvent): void;
	/** The machine has ended, and its devices are given back. */
	close(): Promise<void>;
}

/** What the main job does. */
export interface MainJob {
	/** The real one, or a process of a simulated Linux; it must be allowed to bind devices. */
	readonly kernel: Kernel;
	/** What is assigned, in this order; {@link parseDeviceOption} makes one of QEMU's syntax. */
	readonly devices: readonly DeviceOption[];
	/** Root ports, whose ids are names of buses that devices can go into. */
	readonly rootPorts?: readonly RootPortOption[];
	/** The iommufd objects that devices name. */
	readonly iommufds?: readonly IommufdOption[];
	/** The guest program's options, such as `interrupt=msix blocks=256`. */
	readonly commandLine: string;
	/** Milliseconds until a guest that does not end is ended; Infinity for never. */
	readonly timeLimit: number;
	/** Puts the machine into somebody's hands, with its devices in it and before the guest starts. */
	readonly control?: (machine: QmpMachine) => MachineControl | Promise<MachineControl>;
	/** A device that is added names itself by `host` or by `sysfsdev`, never by both. */
	readonly oneReference?: boolean;
	/** The guest starts when whoever controls the machine says so. */
	readonly paused?: boolean;
	/** Which calls are traced, by name. */
	readonly trace?: (name: string) => boolean;
	/** Learns of what happens while it happens. */
	readonly onEvent?: (event: RunEvent) => void;
	/** Ends the guest; everything is then given back as at its end. */
	readonly interrupted?: AbortSignal;
}

/**
 * The main job: gives each device's group to vfio-pci, opens the devices, maps the guest's memory for their DMA, plugs
 * them into the embedded guest, lets it work, and gives everything back in reverse order.
 *
 * @returns what happened; `passed` only when the guest's own checks passed
 * @throws VfioError when a device cannot be assigned; everything is given back before
 * @example
 * ```ts
 * const clock = new HostClock(); // simulated devices keep the guest's time
 * const kernel = new SimulatedLinux({ host: Host.reference(), clock }).process();
 * const devices = [parseDeviceOption("vfio-pci,host=05:00.0")];
 * const { passed } = await runMainJob({ kernel, devices, commandLine: "interrupt=msix", timeLimit: 10_000 }); // true
 * clock.stop();
 * ```
 */
export async function runMainJob(job: MainJob): Promise<RunReport> {
	const tell = job.onEvent ?? (() => {});
	const kernel = new TracingKernel(job.kernel, {
		...(job.trace ? { wants: job.trace } : {}),
		onCall: (call) => tell({ type: "call", call }),
	});
	const started = performance.now();
	const releases = new Releases();
	const report: Mutable<Pick<RunReport, "devices" | "mappings" | "console" | "results">> = {
		devices: [],
		mappings: [],
		console: [],
		results: {},
	};
	let outcome: RunReport["outcome"];
	let machine: GuestMachine | undefined;
	let control: MachineControl | undefined;
	let quit = false;
	try {
		const guest = await GuestMachine.create({
			kernel,
			program: guestProgram(),
			commandLine: job.commandLine,
			timeLimit: job.timeLimit,
		});
		machine = guest;
		releases.defer(() => guest.close());
		const controlled = controlledMachine(kernel, guest, job, releases, report, (event) => {
			if (job.control) tell({ type: "machine", event });
			quit ||= event.type === "shutdown" && event.reason === "host-qmp-quit";
			control?.tell(event);
		});
		guest.onEvent((event) => {
			if (event.type === "console") {
				report.console.push(event.line);
				if (report.console.length > CONSOLE_LINES) report.console.shift();
				tell({ type: "guest", line: event.line });
			} else if (event.type === "result") report.results[event.name] = event.value;
			else if (event.type === "finished" && event.outcome.kind !== "stopped") controlled.guestEnded();
		});
		const abort = () => controlled.interrupted();
		job.interrupted?.addEventListener("abort", abort);
		releases.defer(() => job.interrupted?.removeEventListener("abort", abort));
		if (job.paused) await guest.pause();
		control = await job.control?.(controlled);
		if (job.interrupted?.aborted) abort();
		else if (!job.paused) controlled.start();
		const { kind, reason, duration } = await guest.run();
		outcome = { kind, reason, guestMilliseconds: duration };
	} finally {
		// The processor stands still before anything is taken from it.
		await machine?.stop();
		try {
			releases[Symbol.dispose]();
		} finally {
			await control?.close();
		}
	}
	return {
		...report,
		passed: outcome.kind === "pass",
		outcome,
		quit,
		kernel: kernel.name,
		calls: Object.fromEntries([...kernel.counts].sort(([a], [b]) => (a < b ? -1 : 1))),
		milliseconds: performance.now() - started,
	};
}

type Mutable<T> = {
	-readonly [K in keyof T]: T[K] extends readonly (infer E)[]
		? E[]
		: T[K] extends Readonly<Record<string, infer V>>
			? Record<string, V>
			: T[K];
};

/** A machine that runs for long is remembered by its last lines, and its first devices. */
const CONSOLE_LINES = 10_000;
const DEVICE_REPORTS = 1000;

/** The machine with its ports and the devices that it starts with. */
function controlledMachine(
	kernel: Kernel,
	guest: GuestMachine,
	job: MainJob,
	releases: Releases,
	report: Mutable<Pick<RunReport, "devices" | "mappings">>,
	tellMachine: (event: MachineEvent) => void,
): ControlledMachine {
	const tell = job.onEvent ?? (() => {});
	const { topology, memory } = guest;
	const { rootPorts = [], iommufds: objects = [], oneReference = false } = job;
	const onReport = (message: string) => tell({ type: "report", message });
	for (const { id, options } of rootPorts) topology.addRootPort(id, options);
	const iommufds = releases.use(new IommufdObjects(kernel, objects));
	const host = new DeviceHost({ kernel, memory, topology, iommufds, onReport });
	const controlled = releases.use(
		new ControlledMachine({
			clock: kernel.clock,
			topology,
			processor: {
				pause: () => guest.pause(),
				resume: () => guest.resume(),
				reset: () => guest.reset(),
				end: () => void guest.stop(),
			},
			host,
			groups: new BoundGroups(kernel, (group) => tell({ type: "bound", group })),
			parts: { rootPorts, iommufds: objects },
			oneReference,
			tell: tellMachine,
			onReport,
			onAssigned: (option, assigned) => {
				const device = reportOn(option, assigned, tell);
				if (report.devices.length < DEVICE_REPORTS) report.devices.push(device);
				tell({ type: "assigned", device });
			},
		}),
	);
	for (const option of job.devices) controlled.assign(option);
	for (const { start, size } of host.mappings) {
		report.mappings.push({ iova: start, size });
		tell({ type: "mapped", iova: start, size });
	}
	return controlled;
}

/** What is told of a device; it follows what the guest makes of it. */
function reportOn(option: DeviceOption, assigned: AssignedDevice, tell: (event: RunEvent) => void): DeviceReport {
	const { device, function: fn, placement } = assigned;
	const { bus, address } = placement;
	const vectors: number[] = [];
	let mode = "none";
	fn.onEvent((event) => {
		if (event.type === "interrupt") {
			vectors[event.vector] = (vectors[event.vector] ?? 0) + 1;
			mode = event.kind;
		} else if (event.type === "interrupt-mode") tell({ type: "interrupt-mode", address: fn.name, mode: event.mode });
	});
	return {
		address: device.name,
		id: option.id ?? device.name,
		group: device.groupId,
		opened: device.opened,
		guestBus: bus.name,
		guestSlot: formatSlotAddress(address),
		bars: fn.plan.bars,
		problems: fn.plan.problems,
		get interruptMode() {
			return mode;
		},
		get interrupts() {
			return Array.from(vectors, (count) => count ?? 0);
		},
	};
}
