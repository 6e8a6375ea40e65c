/**
 * Which devices a process has open.
 *
 * @module
 */
import type { Ioas } from "../iommu/ioas.ts";
import type { Iommufd } from "../iommu/iommufd.ts";
import type { Kernel } from "../kernel.ts";

/** What tells an open device from others: never its name, which whoever passes a descriptor may choose. */
export interface DeviceIdentity {
	readonly name: string;
	/** Its IOMMU group, where sysfs says it. */
	readonly groupId: number | undefined;
	/** How the kernel names it in the iommufd that it is bound to; undefined when it was opened through its group. */
	readonly bound: { readonly iommufd: Iommufd; readonly devid: number; readonly ioas: Ioas } | undefined;
	/** Guest memory may be discarded while it is open. */
	readonly discardAllowed: boolean;
}

/** A `Kernel` is one process's view, and what it has open belongs to it. */
const devices = new WeakMap<Kernel, Set<DeviceIdentity>>();

/** The devices that are open. */
export function openDevices(kernel: Kernel): Iterable<DeviceIdentity> {
	return devices.get(kernel) ?? [];
}

/** The open device of that name. */
export function openDevice(kernel: Kernel, name: string): DeviceIdentity | undefined {
	return [...openDevices(kernel)].find((device) => device.name === name);
}

/** Notes that a device is open. @returns dispose it when it is closed */
export function noteOpen(kernel: Kernel, device: DeviceIdentity): Disposable {
	const open = devices.get(kernel) ?? new Set();
	devices.set(kernel, open.add(device));
	return { [Symbol.dispose]: () => void open.delete(device) };
}
