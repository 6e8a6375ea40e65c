/**
 * Giving the devices of an IOMMU group to vfio-pci, and giving them back.
 *
 * @module
 */

import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { formatPciAddress, parsePciAddress } from "./address.ts";
import { type BindPlan, type DeviceBinding, giveBackSteps, planGroup, shellCommand } from "./bind-plan.ts";
import { groupMembers, groupOf } from "./groups.ts";
import { PciSysfs } from "./sysfs.ts";
import { perform } from "./sysfs-write.ts";

/**
 * Which sysfs writes bring the whole IOMMU group of a function to a driver. It changes nothing.
 *
 * @param address a function of the group, such as `05:00.0`
 * @param driver a VFIO driver
 * @throws VfioError `malformed-address`, `no-such-device`, `no-iommu-group`, `unassignable-device`
 * @example
 * ```ts
 * for (const device of planBind(kernel, "05:00.0").devices)
 *   for (const step of device.steps) console.log(shellCommand(step));
 * ```
 */
export function planBind(kernel: Kernel, address: string, driver = "vfio-pci"): BindPlan {
	const name = formatPciAddress(parsePciAddress(address));
	const group = groupOf(kernel, name);
	const members = groupMembers(kernel, group);
	if (members.find((member) => member.name === name)?.bridge)
		throw new VfioError(
			"unassignable-device",
			`Cannot bind ${name}: it is a bridge or a port, which VFIO does not assign`,
			{
				device: name,
				remedy: ["Assign a function behind it instead: lspci -t shows the tree."],
			},
		);
	return planGroup(group, members, driver);
}

/**
 * Brings the whole IOMMU group of a function to a driver. Bridges and ports stay as they are, and so does what is with the
 * driver already. When a step fails, the devices that were moved go back.
 *
 * @param address a function of the group, such as `05:00.0`
 * @param driver a VFIO driver
 * @returns dispose it, after the devices were closed, to give each device back to the driver it had
 * @throws VfioError as {@link planBind}, and `no-vfio`, `no-permission`, `device-in-use`, `unassignable-device`, `kernel`
 */
export function bindGroup(kernel: Kernel, address: string, driver = "vfio-pci"): BoundGroup {
	const plan = planBind(kernel, address, driver);
	const pci = new PciSysfs(kernel);
	const moving = plan.devices.filter((device) => device.steps.length > 0);
	if (moving.length > 0 && !pci.driverExists(driver)) throw noDriver(driver, moving[0] as DeviceBinding);
	const releases = new Releases();
	try {
		for (const device of moving) {
			releases.defer(() => requireReturned(pci, device));
			for (const step of device.steps) {
				perform(kernel, step, device.name, "bind");
				const { undo } = step;
				if (undo) releases.defer(() => perform(kernel, undo, device.name, "give back"));
			}
			if (pci.driver(device.name) !== driver)
				throw new VfioError(
					"kernel",
					`Cannot bind ${device.name}: ${driver} did not take it, and Linux does not say why`,
					{
						device: device.name,
						remedy: [`dmesg | grep ${device.name} shows what the kernel says about it.`],
					},
				);
		}
	} catch (error) {
		throw afterRollback(error, releases);
	}
	return new BoundGroup(plan, releases);
}

/** An IOMMU group that is with a VFIO driver. Disposing it gives each device back to the driver it had. */
export class BoundGroup implements Disposable {
	readonly plan: BindPlan;
	readonly #releases: Releases;

	/** @param releases gives the devices back */
	constructor(plan: BindPlan, releases: Releases) {
		this.plan = plan;
		this.#releases = releases;
	}

	/** The group's number, as in `/dev/vfio/25`. */
	get group(): number {
		return this.plan.group;
	}

	/**
	 * Gives the devices back, last taken first, each even when another fails. A kernel makes the caller wait while a device
	 * is open: close the devices first.
	 *
	 * @throws VfioError `device-in-use`, `no-permission`, `kernel`
	 */
	[Symbol.dispose](): void {
		this.#releases[Symbol.dispose]();
	}
}

/** That its driver has it again: sysfs says EBUSY of a bind that VFIO forbids, and of one that is done already. */
function requireReturned(pci: PciSysfs, device: DeviceBinding): void {
	if (device.from !== undefined && pci.driver(device.name) !== device.from)
		throw new VfioError("device-in-use", `Cannot give back ${device.name}: ${device.from} does not get it`, {
			device: device.name,
			remedy: [
				"While a process owns the IOMMU group through VFIO, Linux gives none of its devices to a host driver: close them first.",
				`Then: ${giveBackSteps(device).map(shellCommand).join(" ; ")}`,
			],
		});
}

function noDriver(driver: string, device: DeviceBinding): VfioError {
	return new VfioError("no-vfio", `Cannot bind ${device.name}: this kernel has no driver ${driver} loaded`, {
		device: device.name,
		remedy: [`sudo modprobe ${driver}`, "A kernel built without VFIO needs CONFIG_VFIO and CONFIG_VFIO_PCI."],
	});
}

/** The reason is what the caller needs; that putting things back failed too is said as well. */
function afterRollback(reason: unknown, releases: Releases): unknown {
	try {
		releases[Symbol.dispose]();
		return reason;
	} catch (error) {
		return new AggregateError([reason, error], "Cannot bind the group, and cannot put it back as it was");
	}
}
