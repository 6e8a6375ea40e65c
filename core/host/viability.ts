/**
 * Why a group cannot be used: which of its devices still belong to the host.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isVfioDriver, planDevice, shellCommand } from "./bind-plan.ts";
import { type GroupMember, groupMembers } from "./groups.ts";

/**
 * Drivers that leave a device's DMA alone (`driver_managed_dma` in Linux), so that the rest of the group can be assigned:
 * the VFIO drivers, the stub, and those of ports.
 */
export function leavesDmaAlone(driver: string): boolean {
	return isVfioDriver(driver) || ["pci-stub", "pcieport", "shpchp"].includes(driver);
}

/** The members of a group whose driver keeps the group from being assigned. */
export function inTheWay(members: readonly GroupMember[]): GroupMember[] {
	return members.filter((member) => member.driver !== undefined && !leavesDmaAlone(member.driver));
}

/**
 * Looks, before the kernel is asked, whether a group can be assigned.
 *
 * @param group its number, as in `/dev/vfio/25`
 * @param device whom it is for, for the error
 * @throws VfioError `group-not-viable`, which names each device in the way, its driver, and the commands that mend it
 */
export function requireViable(kernel: Kernel, group: number, device: string): void {
	const blockers = inTheWay(groupMembers(kernel, group));
	if (blockers.length > 0) throw notViable(group, device, blockers);
}

/** What the kernel meant when it refused a group. @param cause its answer, when it was an error */
export function explainNotViable(kernel: Kernel, group: number, device: string, cause?: unknown): VfioError {
	return notViable(group, device, inTheWay(groupMembers(kernel, group)), cause);
}

/** The same where the kernel may have meant something else: undefined when no device of the group is in the way. */
export function explainGroupBlocked(
	kernel: Kernel,
	group: number | undefined,
	device: string,
	cause: unknown,
): VfioError | undefined {
	if (group === undefined) return undefined;
	const blockers = inTheWay(groupMembers(kernel, group));
	return blockers.length > 0 ? notViable(group, device, blockers, cause) : undefined;
}

function notViable(group: number, device: string, blockers: readonly GroupMember[], cause?: unknown): VfioError {
	const details = { device, ...(cause === undefined ? {} : { cause }) };
	if (blockers.length === 0)
		return new VfioError(
			"group-not-viable",
			`Cannot assign ${device}: IOMMU group ${group} is not viable, though sysfs shows no host driver on its devices`,
			{
				...details,
				remedy: [
					`Another process may own the group: sudo fuser -v /dev/vfio/${group} /dev/vfio/devices/* shows it.`,
					"dmesg shows what the kernel says about it.",
				],
			},
		);
	const list = blockers.map((member) => `${member.name} (${member.driver})`).join(", ");
	const verb = blockers.length === 1 ? "belongs to a host driver" : "belong to host drivers";
	return new VfioError(
		"group-not-viable",
		`Cannot assign ${device}: IOMMU group ${group} is not viable, since ${list} ${verb}`,
		{ ...details, remedy: ["sudo modprobe vfio-pci", ...blockers.flatMap(wayOut)] },
	);
}

/** The commands that take a device out of the way. A bridge cannot go to vfio-pci; taking it from its driver is enough. */
export function wayOut(member: GroupMember): string[] {
	if (!member.bridge && member.id !== "") return planDevice(member, "vfio-pci").steps.map(shellCommand);
	return [`echo ${member.name} | sudo tee /sys/bus/pci/drivers/${member.driver}/unbind`];
}
