import { type MachineEvent, QmpError, type QmpMachine, type QmpMonitor, type RunState } from "../../../core/qmp/mod.ts";

/** A machine without devices. */
export class FakeMachine implements QmpMachine {
	state: RunState = "running";
	monitor: QmpMonitor | undefined;
	/** What was called, in order. */
	readonly calls: string[] = [];
	/** What `stop` waits for. */
	stopping: Promise<void> | undefined;

	pci() {
		return [];
	}
	async stop(): Promise<void> {
		this.calls.push("stop");
		await this.stopping;
		if (this.state !== "running") return;
		this.state = "paused";
		this.#tell({ type: "stop" });
	}
	cont(): void {
		if (this.state === "running") return;
		this.state = "running";
		this.#tell({ type: "resume" });
	}
	reset(): void {
		this.#tell({ type: "reset", guest: false, reason: "host-qmp-system-reset" });
	}
	quit(): void {
		this.state = "shutdown";
		this.#tell({ type: "shutdown", guest: false, reason: "host-qmp-quit" });
	}
	addDevice(): void {
		this.calls.push("addDevice");
	}
	deleteDevice(id: string): Promise<void> {
		throw new QmpError({ type: "device-not-found", id });
	}
	#tell(event: MachineEvent): void {
		this.monitor?.tell(event);
	}
}
