import type { BarPlan } from "../../core/pci/bar-areas.ts";
import type { MachineEvent } from "../../core/qmp/mod.ts";
import { type DeviceOption, referenceName } from "../cli/device-option.ts";
import type { Terminal } from "../cli/terminal.ts";
import { count, formatSize, hex, table } from "../cli/text.ts";
import type { RunEvent } from "../main-job.ts";
import type { DeviceReport, RunReport } from "../run-report.ts";
import type { SimulationReport } from "../simulation-report.ts";
import type { OpenedHost } from "./host-options.ts";

/** Tells a person what a run does, as it happens and at its end. */
export class Presenter {
	readonly #terminal: Terminal;
	readonly #quiet: boolean;
	readonly #trace: boolean;

	constructor(terminal: Terminal, options: { readonly quiet: boolean; readonly trace: boolean }) {
		this.#terminal = terminal;
		this.#quiet = options.quiet;
		this.#trace = options.trace;
	}

	start(opened: OpenedHost, devices: readonly DeviceOption[]): void {
		this.say(`Host: ${opened.description}, ${opened.kernel.name}`);
		if (devices.length === 0) this.say("The embedded guest starts without a device");
		else
			this.say(
				`Assigning ${devices.map(({ reference }) => referenceName(reference)).join(", ")} to the embedded guest`,
			);
	}

	event(event: RunEvent): void {
		switch (event.type) {
			case "bound":
				for (const { name, from, steps, leftAlone } of event.group.plan.devices)
					this.say(
						`  group ${event.group.group}: ${name} ${leftAlone !== undefined ? `stays: ${leftAlone}` : steps.length > 0 ? `goes from ${from ?? "no driver"} to ${event.group.plan.driver}` : "stays"}`,
					);
				return;
			case "mapped":
				this.say(`  DMA: IOVA ${hex(event.iova)}, ${formatSize(Number(event.size))} of guest memory`);
				return;
			case "assigned":
				this.#assigned(event.device);
				return;
			case "guest":
				this.say(`  guest| ${event.line}`);
				return;
			case "interrupt-mode":
				this.say(
					`  ${event.address}: interrupts are ${event.mode === "none" ? "off" : `by ${INTERRUPT_NAMES[event.mode] ?? event.mode}`}`,
				);
				return;
			case "report":
				this.say(`  note: ${event.message}`);
				return;
			case "machine":
				this.say(`  ${describeEvent(event.event)}`);
				return;
			case "call":
				if (this.#trace && !this.#quiet)
					this.#terminal.print(
						`  ${event.call.name}(${[event.call.target, event.call.arguments].filter(Boolean).join(", ")}) = ${event.call.result}`,
					);
		}
	}

	summary(report: RunReport, simulation: SimulationReport | undefined): void {
		this.say("");
		for (const device of report.devices) {
			const interrupts = device.interrupts.map((number, vector) => `${vector}: ${number}`).join(", ");
			const kind = INTERRUPT_NAMES[device.interruptMode];
			this.say(
				`${device.address}: ${kind === undefined ? "no interrupts" : `interrupts by ${kind}`}${interrupts ? ` (vector ${interrupts})` : ""}`,
			);
			const dma = simulation?.dma.find(({ address }) => address === device.address);
			if (dma) this.say(`  by DMA it read ${dma.read} bytes of guest memory and wrote ${dma.written}`);
		}
		if (simulation) {
			const faults = simulation.faults.map(
				({ device, direction, address, reason }) => `  ${device}: ${direction} of ${hex(address)}, ${reason}`,
			);
			this.say(`DMA faults: ${faults.length || "none"}`);
			for (const fault of faults.slice(0, 8)) this.say(fault);
			this.say(`not given back: ${simulation.leaked.join(", ") || "nothing"}`);
		}
		this.say("system calls:");
		const calls = Object.entries(report.calls).sort(([, a], [, b]) => b - a);
		this.say(
			table(
				calls.map(([name, number]) => [String(number).padStart(6), name]),
				"  ",
			),
		);
		this.say("");
		this.#terminal.print(lastLine(report, simulation));
	}

	#assigned(device: DeviceReport): void {
		const { node, reason } = device.opened;
		this.say(`  ${device.address} is opened by ${node}, since ${reason}`);
		this.say(`  ${device.address} is in the guest at ${device.guestBus} ${device.guestSlot}`);
		for (const bar of device.bars) {
			this.say(
				`    ${barName(bar)}: ${formatSize(bar.size)}, ${KIND_NAMES[bar.kind]}${bar.prefetchable ? ", prefetchable" : ""}`,
			);
			for (const area of bar.areas)
				this.say(
					`      ${hex(area.start, 5)}-${hex(area.end - 1, 5)} ${area.access === "mmap" ? "mapped " : "trapped"} ${area.reason}`,
				);
		}
	}

	/** A line for a person who wants to know more than the last one. */
	say(line: string): void {
		if (!this.#quiet) this.#terminal.print(line);
	}
}

const INTERRUPT_NAMES: Readonly<Record<string, string>> = { msix: "MSI-X", msi: "MSI", intx: "INTx" };
const KIND_NAMES = { mem32: "32-bit memory", mem64: "64-bit memory", io: "I/O ports" } as const;

function barName(bar: BarPlan): string {
	return bar.index === 6 ? "ROM" : `BAR ${bar.index}`;
}

function lastLine(report: RunReport, simulation: SimulationReport | undefined): string {
	const interrupts = report.devices.flatMap((device) => device.interrupts).reduce((sum, number) => sum + number, 0);
	const time = `${(report.milliseconds / 1000).toFixed(2)} s`;
	const leaked =
		simulation && simulation.leaked.length > 0 ? `, but this was not given back: ${simulation.leaked.join(", ")}` : "";
	if (report.passed)
		return `PASS: the guest used ${usedDevices(report)} with ${count(interrupts, "interrupt")} in ${time}${leaked}`;
	const reason = report.outcome.reason || report.outcome.kind;
	if (report.outcome.kind === "stopped" && report.quit)
		return `QUIT: the machine had ${count(report.devices.length, "device")} with ${count(interrupts, "interrupt")} in ${time}${leaked}`;
	return `${report.outcome.kind === "stopped" ? "STOPPED" : "FAIL"}: the guest did not pass: ${reason}, after ${time}${leaked}`;
}

/** It has a driver for some kinds of devices, and only finds and places the others. */
function usedDevices({ devices, results: { driven } }: RunReport): string {
	const used = Number(driven ?? devices.length);
	return used === devices.length ? count(used, "device") : `${used} of ${count(devices.length, "device")}`;
}

function describeEvent(event: MachineEvent): string {
	switch (event.type) {
		case "device-deleted":
			return `${event.id} has left the guest, and is closed`;
		case "unplug-refused":
			return `${event.id}: the guest keeps it`;
		case "device-error":
			return `${event.id}: the device reports an error that the host cannot correct`;
		case "device-requested":
			return `${event.id}: the host wants it back (request ${event.count}: ${event.action})`;
		case "stop":
			return "the guest stands still";
		case "resume":
			return "the guest goes on";
		case "reset":
		case "shutdown":
			return `the machine has ${event.type === "reset" ? "been reset" : "ended"}: ${event.reason}`;
	}
}

/** A run as data, for `--json`: addresses and sizes as hexadecimal strings where they may exceed 2^53. */
export function runAsData(host: string, report: RunReport, simulation: SimulationReport | undefined): unknown {
	const address = (value: bigint) => hex(value);
	return {
		host,
		...report,
		mappings: report.mappings.map(({ iova, size }) => ({ iova: address(iova), size: Number(size) })),
		...(simulation && {
			faults: simulation.faults.map((fault) => ({ ...fault, address: address(fault.address) })),
			dma: simulation.dma,
			leaked: simulation.leaked,
		}),
	};
}
