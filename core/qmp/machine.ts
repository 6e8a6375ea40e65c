/**
 * What the protocol controls: a VMM implements this, and hears nothing of JSON.
 *
 * @module
 */
import type { PciBusInfo } from "./pci-info.ts";

/** What a machine does at present, in QEMU's words. `internal-error`: it was stopped because a device failed. */
export type RunState = "prelaunch" | "running" | "paused" | "internal-error" | "shutdown";

/** A device that is to be added. */
export interface DeviceRequest {
	/** Such as `vfio-pci`. */
	readonly driver: string;
	/** Undefined: nobody can ask for it to be removed. */
	readonly id: string | undefined;
	/** Everything else, as it came: strings, numbers and truth values. */
	readonly properties: Readonly<Record<string, string | number | boolean>>;
}

/**
 * A machine that is controlled. What it throws is the client's answer: {@link QmpError}, or any other error by its message
 * and, for a VfioError, its remedy. What happens by itself it tells `QmpMonitor.tell`.
 */
export interface QmpMachine {
	readonly state: RunState;
	/** The root bus and what is below it. */
	pci(): readonly PciBusInfo[];
	/** Has the processor stand still; does nothing when it does. */
	stop(): void | Promise<void>;
	/** Lets it go on. @throws QmpError after an error that needs a reset first */
	cont(): void | Promise<void>;
	/** Resets the machine. */
	reset(): void | Promise<void>;
	/** Ends it. It may go on after the answer. */
	quit(): void | Promise<void>;
	/** Opens a device and plugs it in; what it took is given back when a step fails. */
	addDevice(request: DeviceRequest): void | Promise<void>;
	/**
	 * Asks the guest to let go of a device.
	 *
	 * @returns settles when the device has gone, or the guest keeps it
	 * @throws QmpError, VfioError when the guest cannot be asked
	 */
	deleteDevice(id: string): Promise<void>;
}
