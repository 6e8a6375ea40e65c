/**
 * A qtest machine with assigned devices in it.
 *
 * @module
 */
import { VfioDevice } from "../../core/device/device.ts";
import { IoAddressSpace } from "../../core/device/io-address-space.ts";
import { formatPciAddress } from "../../core/host/address.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { groupOf } from "../../core/host/groups.ts";
import type { Kernel } from "../../core/kernel.ts";
import { AssignedFunction } from "../../core/pci/assigned-function.ts";
import { Releases } from "../../core/release.ts";
import type { DeviceOption } from "../cli/device-option.ts";
import { QtestMachine } from "./machine.ts";
import type { RootPortOption } from "./root-port-option.ts";

/** What the machine is made of. */
export interface AssemblyOptions {
	readonly kernel: Kernel;
	readonly devices: readonly DeviceOption[];
	readonly rootPorts?: readonly RootPortOption[];
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
		const bound = new Set<number>();
		for (const { host } of devices) {
			const address = formatPciAddress(host);
			const group = groupOf(kernel, address);
			if (bound.has(group)) continue;
			bound.add(group);
			releases.use(bindGroup(kernel, address));
		}
		const memorySize = options.memorySize;
		const machine = releases.use(new QtestMachine({ kernel, ...(memorySize === undefined ? {} : { memorySize }) }));
		for (const { id, options: port } of rootPorts) machine.topology.addRootPort(id, port);
		const addressSpace = new IoAddressSpace(kernel, {
			memory: machine.memory,
			onReport: ({ error }) => onReport(error.message),
		});
		const functions = devices.map((option) => {
			const device = releases.use(VfioDevice.open(kernel, formatPciAddress(option.host), { addressSpace, onReport }));
			const fn = releases.use(AssignedFunction.attach(device, { ...option.assign, onReport }));
			const { bus, addr: address, multifunction } = option;
			machine.topology.plug(fn, { bus, address, multifunction });
			releases.defer(() => machine.topology.unplug(fn));
			return fn;
		});
		const held = releases.move();
		return { machine, functions, [Symbol.dispose]: () => held[Symbol.dispose]() };
	} finally {
		releases[Symbol.dispose]();
	}
}
