import { capability, type HostDescription, type HostDevice, isBridge } from "./host.ts";

/**
 * The parts devices play in the cases. Each is looked for by what it is, so that a host without one has its cases skipped.
 */

const EDU = [0x1234, 0x11e8] as const;
/** The PCI Express capability. */
const EXPRESS = 0x10;

const onRootBus = (device: HostDevice) => device.name.slice(5, 7) === "00";
const alone = (host: HostDescription, device: HostDevice) => host.members(device.group).length === 1;

function edus(host: HostDescription): HostDevice[] {
	return host.assignable.filter((one) => one.vendor === EDU[0] && one.device === EDU[1]);
}

/** A teaching device below a port of its own: conventional, one MSI, INTx, DMA, reset by its bus. */
export function edu(host: HostDescription): HostDevice | undefined {
	return edus(host).find((one) => !onRootBus(one) && alone(host, one));
}

/** The same on the root bus: nothing can reset it. */
export function rootEdu(host: HostDescription): HostDevice | undefined {
	return edus(host).find((one) => onRootBus(one) && alone(host, one));
}

/** Intel 82574L: PCI Express with INTx, MSI, MSI-X, power management, an I/O BAR and a ROM. */
export function e1000e(host: HostDescription): HostDevice | undefined {
	return host.find(0x8086, 0x10d3);
}

/** Intel 82576: the same with function level reset and virtual functions. */
export function igb(host: HostDescription): HostDevice | undefined {
	return host.find(0x8086, 0x10c9);
}

/** An NVMe controller: a 64-bit BAR, MSI-X, function level reset. */
export function nvme(host: HostDescription): HostDevice | undefined {
	return host.find(0x1b36, 0x0010);
}

/** A device with prefetchable memory of whole pages beside registers. */
export function memoryDevice(host: HostDescription): HostDevice | undefined {
	const PREFETCH = 0x2000n;
	return host.assignable.find(
		(one) => one.vendor === 0x1b36 && one.device === 0x0005 && ((one.resources[2]?.[2] ?? 0n) & PREFETCH) !== 0n,
	);
}

/** Two endpoints that share a group: the first and the second. */
export function siblings(host: HostDescription): readonly [HostDevice, HostDevice] | undefined {
	for (const first of host.assignable) {
		const second = host.members(first.group).find((one) => one !== first && !isBridge(one));
		const bridges = host.members(first.group).some(isBridge);
		if (second && !bridges && second.class >> 16 !== 6 && first.name < second.name) return [first, second];
	}
	return undefined;
}

/** A member of a shared group for which this Linux has a driver of its own, and another member. */
export function driven(host: HostDescription): { device: HostDevice; driver: string; sibling: HostDevice } | undefined {
	const e1000 = host.find(0x8086, 0x100e);
	const sibling = host.members(e1000?.group).find((one) => one !== e1000 && !isBridge(one));
	return e1000 && sibling && host.drivers.includes("e1000") ? { device: e1000, driver: "e1000", sibling } : undefined;
}

/** A bridge. */
export function bridge(host: HostDescription): HostDevice | undefined {
	return host.devices.find((one) => isBridge(one) && one.driver === undefined) ?? host.devices.find(isBridge);
}

/** Any PCI Express endpoint. */
export function express(host: HostDescription): HostDevice | undefined {
	return e1000e(host) ?? nvme(host) ?? host.assignable.find((one) => capability(one, EXPRESS) !== 0);
}

/** The serial sample of a mediated device. */
export function mtty(host: HostDescription): string | undefined {
	return host.parents.find((name) => name === "mtty");
}

/** Says what is missing when a role is not filled. */
export function needs(
	...roles: readonly ((host: HostDescription) => unknown)[]
): (host: HostDescription) => string | undefined {
	return (host) => {
		const missing = roles.find((role) => role(host) === undefined);
		return missing && `the host has no ${missing.name}`;
	};
}

/** Says that there is no KVM. */
export function needsKvm(host: HostDescription): string | undefined {
	return host.kvm ? undefined : "the host has no /dev/kvm";
}

/** A role that is filled. */
export function of<T>(role: (host: HostDescription) => T | undefined, host: HostDescription): T {
	const device = role(host);
	if (device === undefined) throw new Error(`The host has no ${role.name}`);
	return device;
}
