/**
 * A qtest machine with assigned devices in it.
 *
 * @module
 */
import type { Kernel } from "../../core/kernel.ts";
import type { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { Releases } from "../../core/release.ts";
import { BoundGroups } from "../bound-groups.ts";
import type { DeviceOption } from "../cli/device-option.ts";
import type { IommufdOption } from "../cli/iommufd-option.ts";
import type { RootPortOption } from "../cli/root-port-option.ts";
import { DeviceHost } from "../device-host.ts";
import { IommufdObjects } from "../iommufd-objects.ts";
import { QtestMachine } from "./machine.ts";

/** What the machine is made of. */
export interface AssemblyOptions {
	readonly kernel: Kernel;
	readonly devices: readonly DeviceOption[];
	readonly rootPorts?: readonly RootPortOption[];
	/** The iommufd objects that devices name. */
	readonly iommufds?: readonly IommufdOption[];
	/** Bytes of RAM. */
	readonly memorySize?: number;
	/** Learns of what goes wrong without an end to everything. */
	readonly onReport?: (message: string) => void;
}

/** The machine, and what it stands on; disposing it gives everything back, in reverse order. */
export interface Assembly extends Disposable {
	readonly machine: QtestMachine;
	readonly functions: readonly AssignedFunction[];
}

/**
 * Gives each device's group to vfio-pci, makes the machine, opens the devices, maps RAM for their DMA and plugs them in.
 *
 * @throws VfioError when a device cannot be assigned or plugged; everything is given back before
 */
export function assemble(options: AssemblyOptions): Assembly {
	const { kernel, devices, rootPorts = [], onReport = () => {} } = options;
	const releases = new Releases();
	try {
		const groups = new BoundGroups(kernel);
		for (const { reference } of devices) releases.use(groups.hold(reference));
		const memorySize = options.memorySize;
		const machine = releases.use(new QtestMachine({ kernel, ...(memorySize === undefined ? {} : { memorySize }) }));
		for (const { id, options: port } of rootPorts) machine.topology.addRootPort(id, port);
		const iommufds = releases.use(new IommufdObjects(kernel, options.iommufds));
		const host = new DeviceHost({ kernel, memory: machine.memory, topology: machine.topology, iommufds, onReport });
		const functions = devices.map((option) => releases.use(host.assign(option)).function);
		const held = releases.move();
		return { machine, functions, [Symbol.dispose]: () => held[Symbol.dispose]() };
	} finally {
		releases[Symbol.dispose]();
	}
}
