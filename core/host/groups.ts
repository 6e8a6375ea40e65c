/**
 * IOMMU groups: the functions that the IOMMU cannot tell apart, and that are therefore assigned together.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { formatPciAddress, parsePciAddress } from "./address.ts";
import { nearestName } from "./nearest.ts";
import { PciSysfs, reading, readNames, unlessGone } from "./sysfs.ts";

/** A device of an IOMMU group. */
export interface GroupMember {
	/** Such as `0000:05:00.0`; a platform device has another form. */
	readonly name: string;
	/** The Linux driver that has it, or undefined. */
	readonly driver: string | undefined;
	/** A bridge or a port: it is not assigned, and it is not in the way. */
	readonly bridge: boolean;
	/** The `driver_override` it has: "" for none, undefined when the kernel has no such file. */
	readonly override: string | undefined;
	/** Vendor and device id in hexadecimal, as `new_id` takes them; "" for what is no PCI function. */
	readonly id: string;
	/** PCI class, subclass and programming interface. */
	readonly class: number;
}

/**
 * The IOMMU group of a function.
 *
 * @param address such as `05:00.0`
 * @returns the group's number, as in `/dev/vfio/25`
 * @throws VfioError `malformed-address`, `no-such-device`, `no-iommu-group`
 */
export function groupOf(kernel: Kernel, address: string): number {
	const name = formatPciAddress(parsePciAddress(address));
	const pci = new PciSysfs(kernel);
	if (!pci.exists(name)) throw noSuchDevice(name, pci.devices());
	const group = pci.group(name);
	if (group === undefined) throw noGroup(kernel, name);
	return group;
}

/**
 * The devices of a group, in address order.
 *
 * @param group its number, as in `/dev/vfio/25`
 * @throws VfioError `kernel`
 */
export function groupMembers(kernel: Kernel, group: number): GroupMember[] {
	const pci = new PciSysfs(kernel);
	const path = `/sys/kernel/iommu_groups/${group}/devices`;
	const names = reading(path, () => kernel.readDirectory(path));
	return names.flatMap((name) => {
		if (!pci.exists(name)) return [{ name, driver: undefined, bridge: false, override: undefined, id: "", class: 0 }];
		return unlessGone(() => memberOf(pci, name)) ?? [];
	});
}

function memberOf(pci: PciSysfs, name: string): GroupMember {
	const ids = pci.ids(name);
	return {
		name,
		driver: pci.driver(name),
		bridge: pci.isBridge(name),
		override: pci.driverOverride(name),
		id: `${hex4(ids.vendor)} ${hex4(ids.device)}`,
		class: ids.class,
	};
}

function hex4(value: number): string {
	return value.toString(16).padStart(4, "0");
}

function noSuchDevice(name: string, existing: readonly string[]): VfioError {
	const nearest = nearestName(name, existing);
	const remedy = nearest
		? [`The nearest address on this host is ${nearest}.`, "lspci -D lists all of them."]
		: ["This host shows no PCI function at all in /sys/bus/pci/devices."];
	return new VfioError("no-such-device", `Cannot find device ${name}: this host has no such PCI function`, {
		device: name,
		remedy,
	});
}

/** Tells "the IOMMU is off" from "the IOMMU is on, and does not cover this function". */
function noGroup(kernel: Kernel, name: string): VfioError {
	const anyGroup = (readNames(kernel, "/sys/kernel/iommu_groups") ?? []).length > 0;
	const reason = anyGroup
		? "it is in no IOMMU group, so no IOMMU stands between it and memory"
		: "this host has no IOMMU groups, so its IOMMU is off or missing";
	const remedy = anyGroup
		? ["Move the device to a slot whose root complex has an IOMMU, or update the firmware's DMAR or IVRS table."]
		: [
				"Enable the IOMMU in the firmware setup: VT-d on Intel, AMD-Vi or IOMMU on AMD, SMMU on Arm.",
				"On Intel, add intel_iommu=on to the kernel command line, and reboot.",
				"dmesg | grep -e DMAR -e AMD-Vi -e IOMMU shows what the kernel found.",
			];
	return new VfioError("no-iommu-group", `Cannot assign ${name}: ${reason}`, { device: name, remedy });
}
