import type { BoundGroup } from "../core/host/bind.ts";
import type { Kernel } from "../core/kernel.ts";
import { Releases } from "../core/release.ts";
import { type TracedCall, TracingKernel } from "../core/tracing-kernel.ts";
import { BoundGroups } from "./bound-groups.ts";
import type { DeviceOption } from "./cli/device-option.ts";
import type { IommufdOption } from "./cli/iommufd-option.ts";
import type { RootPortOption } from "./cli/root-port-option.ts";
import { DeviceHost } from "./device-host.ts";
import { IommufdObjects } from "./iommufd-objects.ts";
import { GuestMachine, guestProgram } from "./machine/mod.ts";
import type { DeviceReport, RunReport } from "./run-report.ts";

/** Something that happens while the main job runs, for whoever shows it. */
export type RunEvent =
	| { readonly type: "bound"; readonly group: BoundGroup }
	| { readonly type: "assigned"; readonly device: DeviceReport }
	| { readonly type: "mapped"; readonly iova: bigint; readonly size: bigint }
	| { readonly type: "guest"; readonly line: string }
	| { readonly type: "interrupt-mode"; readonly address: string; readonly mode: string }
	| { readonly type: "report"; readonly message: string }
	| { readonly type: "call"; readonly call: TracedCall };

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
	/** Milliseconds until a guest that does not end is ended. */
	readonly timeLimit: number;
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
	try {
		const groups = new BoundGroups(kernel, (group) => tell({ type: "bound", group }));
		for (const { reference } of job.devices) releases.use(groups.hold(reference));
		const guest = await GuestMachine.create({
			kernel,
			program: guestProgram(),
			commandLine: job.commandLine,
			timeLimit: job.timeLimit,
		});
		machine = guest;
		releases.defer(() => guest.close());
		guest.onEvent((event) => {
			if (event.type === "console") {
				report.console.push(event.line);
				tell({ type: "guest", line: event.line });
			} else if (event.type === "result") report.results[event.name] = event.value;
		});
		assign(kernel, guest, job, releases, report, tell);
		const abort = () => void guest.stop();
		job.interrupted?.addEventListener("abort", abort);
		releases.defer(() => job.interrupted?.removeEventListener("abort", abort));
		if (job.interrupted?.aborted) await guest.stop();
		const { kind, reason, duration } = await guest.run();
		outcome = { kind, reason, guestMilliseconds: duration };
	} finally {
		// The processor stands still before anything is taken from it.
		await machine?.stop();
		releases[Symbol.dispose]();
	}
	return {
		...report,
		passed: outcome.kind === "pass",
		outcome,
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

function assign(
	kernel: Kernel,
	machine: GuestMachine,
	job: MainJob,
	releases: Releases,
	report: Mutable<Pick<RunReport, "devices" | "mappings">>,
	tell: (event: RunEvent) => void,
): void {
	const onReport = (message: string) => tell({ type: "report", message });
	for (const { id, options } of job.rootPorts ?? []) machine.topology.addRootPort(id, options);
	const iommufds = releases.use(new IommufdObjects(kernel, job.iommufds));
	const host = new DeviceHost({ kernel, memory: machine.memory, topology: machine.topology, iommufds, onReport });
	for (const option of job.devices) {
		const vectors: number[] = [];
		let mode = "none";
		const {
			device,
			function: { plan },
			placement: { bus, address },
		} = releases.use(
			host.assign(option, (fn) => {
				fn.onEvent((event) => {
					if (event.type === "interrupt") {
						vectors[event.vector] = (vectors[event.vector] ?? 0) + 1;
						mode = event.kind;
					} else if (event.type === "interrupt-mode")
						tell({ type: "interrupt-mode", address: fn.name, mode: event.mode });
				});
			}),
		);
		const assigned: DeviceReport = {
			address: device.name,
			id: option.id ?? device.name,
			group: device.groupId,
			guestBus: bus.name,
			guestSlot: `${address.device.toString(16).padStart(2, "0")}.${address.function}`,
			bars: plan.bars,
			problems: plan.problems,
			get interruptMode() {
				return mode;
			},
			get interrupts() {
				return Array.from(vectors, (count) => count ?? 0);
			},
		};
		report.devices.push(assigned);
		tell({ type: "assigned", device: assigned });
	}
	for (const { start, size } of host.mappings) {
		report.mappings.push({ iova: start, size });
		tell({ type: "mapped", iova: start, size });
	}
}
