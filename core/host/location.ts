/**
 * Where a device is: by its address on a bus, or by its directory anywhere in sysfs.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { formatPciAddress, parsePciAddress } from "./address.ts";
import { groupOf } from "./groups.ts";
import { readingIfThere, readNames } from "./sysfs.ts";

/**
 * How whoever assigns a device names it:
 *
 * - `"0000:05:00.0"`, `"05:00.0"` or `{ host: "05:00.0" }`: a PCI function
 * - `{ platform: "fff51000.ethernet" }`: a device below `/sys/bus/platform/devices`
 * - `{ sysfsdev: "/sys/bus/mdev/devices/<uuid>" }`: any directory or link in sysfs; it goes before the others
 */
export type DeviceReference =
	| string
	| { readonly host?: string; readonly platform?: string; readonly sysfsdev?: string };

/** A device's place in sysfs. */
export interface DeviceLocation {
	/** What its bus, and VFIO, call it: the last part of its path. */
	readonly name: string;
	/** Its directory, or a link to that, as it was given. */
	readonly path: string;
	/** Which bus the reference said; undefined for `sysfsdev`, which may be of any. */
	readonly bus: "pci" | "platform" | undefined;
}

/**
 * The place that a reference names. It asks the kernel nothing.
 *
 * @throws VfioError `malformed-address`, `invalid-argument`
 * @example
 * ```ts
 * locate("05:00.0"); // { name: "0000:05:00.0", path: "/sys/bus/pci/devices/0000:05:00.0", bus: "pci" }
 * ```
 */
export function locate(reference: DeviceReference): DeviceLocation {
	const { host, platform, sysfsdev } = typeof reference === "string" ? { host: reference } : reference;
	if (sysfsdev !== undefined) {
		const path = sysfsdev.replace(/\/+$/, "");
		const name = path.slice(path.lastIndexOf("/") + 1);
		if (!path.startsWith("/") || !isName(name))
			throw new VfioError("invalid-argument", `Cannot use "${sysfsdev}" as sysfsdev: that is no path of a device`, {
				remedy: ["Give the device's directory, such as /sys/bus/mdev/devices/<uuid>."],
			});
		return { name, path, bus: undefined };
	}
	if (platform !== undefined) {
		if (!isName(platform))
			throw new VfioError("invalid-argument", `Cannot use "${platform}" as a platform device: that is no name of one`, {
				remedy: ["ls /sys/bus/platform/devices shows the names; for a path use sysfsdev."],
			});
		return { name: platform, path: `/sys/bus/platform/devices/${platform}`, bus: "platform" };
	}
	if (host === undefined)
		throw new VfioError("invalid-argument", "Cannot assign a device: neither host, platform nor sysfsdev names one");
	const name = formatPciAddress(parsePciAddress(host));
	return { name, path: `/sys/bus/pci/devices/${name}`, bus: "pci" };
}

/** What a directory in sysfs can be called. */
function isName(text: string): boolean {
	return text !== "" && text !== "." && text !== ".." && !text.includes("/");
}

/**
 * The IOMMU group of a device, of whatever bus.
 *
 * @returns the group's number, as in `/dev/vfio/25`
 * @throws VfioError `no-such-device`, `no-iommu-group`, `kernel`
 */
export function groupAt(kernel: Kernel, location: DeviceLocation): number {
	if (location.bus === "pci") return groupOf(kernel, location.name);
	const { name, path } = location;
	if (readNames(kernel, path) === undefined)
		throw new VfioError("no-such-device", `Cannot find device ${name}: there is no ${path}`, {
			device: name,
			remedy: [`ls ${path.slice(0, path.lastIndexOf("/")) || "/"} shows what there is.`],
		});
	const link = readingIfThere(`${path}/iommu_group`, () => kernel.readLink(`${path}/iommu_group`));
	if (link === undefined)
		throw new VfioError("no-iommu-group", `Cannot assign ${name}: it is in no IOMMU group`, {
			device: name,
			remedy: ["A device gets one from its IOMMU, or from VFIO when a mediated or no-IOMMU driver has it."],
		});
	const group = /(?:^|\/)(\d+)$/.exec(link)?.[1];
	if (group === undefined)
		throw new VfioError("kernel", `Cannot assign ${name}: its iommu_group is "${link}", which is no group's number`, {
			device: name,
		});
	return Number(group);
}
