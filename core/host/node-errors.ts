/**
 * Why a device node of VFIO does not open, and what to do about it.
 *
 * @module
 */
import { KernelError, VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno } from "../retry.ts";
import { EACCES, EBUSY, ENODEV, ENOENT, ENXIO, EPERM } from "../uapi/errno.ts";
import { planDevice, shellCommand } from "./bind-plan.ts";
import { groupMembers } from "./groups.ts";
import { PciSysfs, readNames } from "./sysfs.ts";

/** open(2) says EPERM where the modes of the node would allow it: not for those, EACCES is the answer. */
const FORBIDDEN = "the control group of the process does not allow the device, whatever the node's modes say";

function allow(path: string): string[] {
	return [
		`In a container, pass the node in: --device ${path}`,
		`In a systemd unit: DeviceAllow=${path} rw`,
		"For good, as in Kubernetes, have a device plugin hand out the group.",
	];
}

/** What the usual answers of open(2) mean for one kind of node. */
interface NodeAnswers {
	/** The node, as remedies name it. */
	readonly path: string;
	/** The sentence up to the reason. */
	readonly what: string;
	/** Whom it was opened for. */
	readonly device?: string;
	/** There is no such node, or nothing behind it. */
	missing(cause: KernelError): VfioError;
	/** What EACCES says after "no permission", and what to do about it. */
	readonly denied: { readonly where: string; readonly remedy: readonly string[] };
}

function explainNode(cause: unknown, { path, what, device, missing, denied }: NodeAnswers): unknown {
	if (!(cause instanceof KernelError)) return cause;
	const details = { cause, ...(device === undefined ? {} : { device }) };
	switch (cause.errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			return missing(cause);
		case EPERM:
			return new VfioError("no-permission", `${what}: ${FORBIDDEN}`, { ...details, remedy: allow(path) });
		case EACCES:
			return new VfioError("no-permission", `${what}: no permission${denied.where}`, {
				...details,
				remedy: denied.remedy,
			});
	}
	return new VfioError("kernel", `${what}: ${cause.message}`, details);
}

/** The nodes of a subsystem of udev's, for good. */
function udevRule(subsystem: string): string {
	return `For good, give a Unix group the nodes: echo 'SUBSYSTEM=="${subsystem}", GROUP="kvm", MODE="0660"' | sudo tee /etc/udev/rules.d/10-vfio.rules`;
}

/** `/dev/vfio/vfio` did not open. @param cause what open(2) threw */
export function explainContainerNode(path: string, cause: unknown): unknown {
	const what = `Cannot open ${path}`;
	return explainNode(cause, {
		path,
		what,
		missing: (answer) =>
			new VfioError("no-vfio", `${what}: this kernel has no VFIO loaded`, {
				cause: answer,
				remedy: [
					"sudo modprobe vfio-pci",
					"In a container, pass the nodes in: --device /dev/vfio/vfio --device /dev/vfio/<group>",
				],
			}),
		denied: { where: "", remedy: [`sudo chmod 0666 ${path}`] },
	});
}

/** `/dev/iommu` did not open. @param cause what open(2) threw */
export function explainIommuNode(path: string, cause: unknown): unknown {
	const what = `Cannot open ${path}`;
	return explainNode(cause, {
		path,
		what,
		missing: (answer) =>
			new VfioError("no-vfio", `${what}: this kernel has no iommufd loaded`, {
				cause: answer,
				remedy: [
					"sudo modprobe iommufd",
					"A kernel without CONFIG_IOMMUFD has IOMMU groups only: leave iommufd out.",
					`In a container, pass the node in: --device ${path}`,
				],
			}),
		denied: {
			where: "",
			remedy: [`sudo chown "$USER" ${path}`, "Or have a launcher that may open it pass its descriptor."],
		},
	});
}

/**
 * `/dev/vfio/devices/<name>` did not open.
 *
 * @param device whom it was opened for
 * @param cause what open(2) threw
 */
export function explainDeviceNode(path: string, device: string, cause: unknown): unknown {
	const what = `Cannot open ${device}`;
	return explainNode(cause, {
		path,
		what,
		device,
		missing: (answer) =>
			new VfioError("no-vfio", `${what}: there is no ${path}`, {
				device,
				cause: answer,
				remedy: [`In a container, pass the nodes in: --device ${path} --device /dev/iommu`],
			}),
		denied: { where: ` for ${path}`, remedy: [`sudo chown "$USER" ${path}`, udevRule("vfio-dev")] },
	});
}

/**
 * A group's node, `/dev/vfio/<group>` or `/dev/vfio/noiommu-<group>`, did not open.
 *
 * @param device whom it was opened for
 * @param cause what open(2) threw
 */
export function explainGroupNode(kernel: Kernel, path: string, group: number, device: string, cause: unknown): unknown {
	const what = `Cannot open IOMMU group ${group} of ${device}`;
	if (isErrno(cause, EBUSY))
		return new VfioError(
			"device-in-use",
			`${what}: another process has ${path}, or a device of the group, open, and Linux gives them to one at a time`,
			{
				device,
				cause,
				remedy: [
					`sudo fuser -v ${path} /dev/vfio/devices/* shows which process.`,
					"End it, or close the device there.",
				],
			},
		);
	return explainNode(cause, {
		path,
		what,
		device,
		missing: (answer) => noNode(kernel, group, device, answer),
		denied: { where: ` for ${path}`, remedy: [`sudo chown "$USER" ${path}`, udevRule("vfio")] },
	});
}

/** No node, because no device of the group is with a VFIO driver. @param cause the kernel's answer */
function noNode(kernel: Kernel, group: number, device: string, cause: unknown): VfioError {
	const pci = new PciSysfs(kernel);
	const member = groupMembers(kernel, group).find(({ name }) => name === device);
	const details = { device, cause };
	if (isPci(member) && !pci.driverExists("vfio-pci") && readNames(kernel, "/sys/bus/pci/drivers") !== undefined)
		return new VfioError("no-vfio", `Cannot open ${device}: this kernel has no driver vfio-pci loaded`, {
			...details,
			remedy: ["sudo modprobe vfio-pci", ...bindCommands(member)],
		});
	return notBound(device, member, cause);
}

/** The device itself is not with a VFIO driver. @param cause the kernel's answer */
export function explainNotBound(kernel: Kernel, group: number, device: string, cause: unknown): VfioError {
	return notBound(
		device,
		groupMembers(kernel, group).find(({ name }) => name === device),
		cause,
	);
}

type Member = ReturnType<typeof groupMembers>[number] | undefined;

function notBound(device: string, member: Member, cause: unknown): VfioError {
	if (member?.bridge)
		return new VfioError(
			"unassignable-device",
			`Cannot open ${device}: it is a bridge or a port, which VFIO does not assign`,
			{ device, cause, remedy: ["Assign a function behind it instead: lspci -t shows the tree."] },
		);
	if (!isPci(member))
		return new VfioError("not-bound", `Cannot open ${device}: no VFIO driver has it`, {
			device,
			cause,
			remedy: [
				`ls -l /sys/bus/*/devices/${device}/driver shows which driver has it.`,
				"sudo modprobe vfio-platform",
				"bindPlatformDevice brings a platform device to that driver.",
			],
		});
	const owner = member?.driver === undefined ? "no driver has it" : `its driver is ${member.driver}`;
	return new VfioError("not-bound", `Cannot open ${device}: it is not bound to vfio-pci, ${owner}`, {
		device,
		cause,
		remedy: bindCommands(member),
	});
}

/** What sysfs does not show as a PCI function may be any device; one that it does not show at all is taken for a function. */
function isPci(member: Member): boolean {
	return member?.id !== "";
}

function bindCommands(member: Member): string[] {
	return member === undefined ? [] : planDevice(member, "vfio-pci").steps.map(shellCommand);
}
