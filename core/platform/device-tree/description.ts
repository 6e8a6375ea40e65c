/**
 * What a platform device's node in a guest's device tree is made from: the device, its node in the host's tree, and where
 * the guest's machine has put it.
 *
 * @module
 */
import { VfioError } from "../../errors.ts";
import type { PlatformPlacement } from "../../machine/platform-bus.ts";
import { cells64, type DeviceTreeNode, type DeviceTreeValue, stringsOf } from "./node.ts";

/** A platform device, as far as its node goes. */
export interface HostPlatformDevice {
	/** Such as `fff51000.ethernet`. */
	readonly name: string;
	/** Bytes of each region. */
	readonly regions: readonly { readonly size: number }[];
	readonly interrupts: readonly { readonly trigger: "edge" | "level" }[];
	/** Its node in the host's tree. */
	readonly hostNode: DeviceTreeNode;
	/** The host's whole tree, for nodes that its own refers to. */
	readonly hostTree: DeviceTreeNode;
}

/** Nodes of a guest's tree. */
export interface PlatformNodes {
	/** The device's, for a bus of two address and two size cells. */
	readonly device: DeviceTreeNode;
	/** What it refers to, for the root of the tree. */
	readonly shared: readonly DeviceTreeNode[];
}

/** Gives phandles that nobody has yet. */
export class Phandles {
	#next: number;

	/** @param first the lowest that is free */
	constructor(first: number) {
		this.#next = first;
	}

	take(): number {
		return this.#next++;
	}
}

/** GIC: a shared peripheral interrupt (arm,gic-v3 binding). */
const GIC_SPI = 0;
const EDGE_RISING = 1;
const LEVEL_HIGH = 4;

/** The properties that any device has: where its regions are, and which interrupts it has. */
export function placed(
	{ regions, interrupts }: HostPlatformDevice,
	placement: PlatformPlacement,
): Record<string, DeviceTreeValue> {
	const reg = regions.flatMap(({ size }, index) => [
		...cells64(placement.regions[index] ?? 0n),
		...cells64(BigInt(size)),
	]);
	const lines = interrupts.flatMap(({ trigger }, index) => [
		GIC_SPI,
		placement.interrupts[index] ?? 0,
		trigger === "level" ? LEVEL_HIGH : EDGE_RISING,
	]);
	return { ...(reg.length > 0 ? { reg } : {}), ...(lines.length > 0 ? { interrupts: lines } : {}) };
}

/** The node's name: the host's, at the address that the guest has its first region at. */
export function placedName({ hostNode }: HostPlatformDevice, { regions: [first] }: PlatformPlacement): string {
	const kind = hostNode.name.split("@")[0] || "device";
	return first === undefined ? kind : `${kind}@${first.toString(16)}`;
}

/**
 * Properties that are the host's.
 *
 * @param wanted by name; true for those that have to be there
 * @throws VfioError `unassignable-device`, which names the one that is missing
 */
export function copied(
	{ name, hostNode }: HostPlatformDevice,
	wanted: Readonly<Record<string, boolean>>,
): Record<string, DeviceTreeValue> {
	const properties: Record<string, DeviceTreeValue> = {};
	for (const [key, mandatory] of Object.entries(wanted)) {
		const value = hostNode.properties.get(key);
		if (value) properties[key] = value;
		else if (mandatory) throw refused(name, `its node on the host has no property "${key}"`);
	}
	return properties;
}

/** What the device is compatible with, the most specific first. @throws VfioError `unassignable-device` when it says nothing */
export function compatibleOf({ name, hostNode }: Pick<HostPlatformDevice, "name" | "hostNode">): string[] {
	const compatible = stringsOf(hostNode, "compatible");
	if (!compatible) throw refused(name, 'its node on the host has no property "compatible"');
	return compatible;
}

/** The error of every reason why there is no node for a device. */
export function refused(name: string, reason: string): VfioError {
	return new VfioError("unassignable-device", `Cannot make a device tree node for ${name}: ${reason}`, {
		device: name,
		remedy: [`ls /sys/bus/platform/devices/${name}/of_node shows what the host's device tree says of it.`],
	});
}
