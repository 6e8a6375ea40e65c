/**
 * Why a device node of VFIO does not open, and what to do about it.
 *
 * @module
 */
import { KernelError, VfioError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
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

/** `/dev/vfio/vfio` did not open. @param cause what open(2) threw */
export function explainContainerNode(path: string, cause: unknown): unknown {
	if (!(cause instanceof KernelError)) return cause;
	const what = `Cannot open ${path}`;
	switch (cause.errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			return new VfioError("no-vfio", `${what}: this kernel has no VFIO loaded`, {
				cause,
				remedy: [
					"sudo modprobe vfio-pci",
					"In a container, pass the nodes in: --device /dev/vfio/vfio --device /dev/vfio/<group>",
				],
			});
		case EACCES:
			return new VfioError("no-permission", `${what}: no permission`, { cause, remedy: [`sudo chmod 0666 ${path}`] });
		case EPERM:
			return new VfioError("no-permission", `${what}: ${FORBIDDEN}`, { cause, remedy: allow(path) });
	}
	return new VfioError("kernel", `${what}: ${cause.message}`, { cause });
}

/** `/dev/iommu` did not open. @param cause what open(2) threw */
export function explainIommuNode(path: string, cause: unknown): unknown {
	if (!(cause instanceof KernelError)) return cause;
	const what = `Cannot open ${path}`;
	switch (cause.errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			return new VfioError("no-vfio", `${what}: this kernel has no iommufd loaded`, {
				cause,
				remedy: [
					"sudo modprobe iommufd",
					"A kernel without CONFIG_IOMMUFD has IOMMU groups only: leave iommufd out.",
					`In a container, pass the node in: --device ${path}`,
				],
			});
		case EPERM:
			return new VfioError("no-permission", `${what}: ${FORBIDDEN}`, { cause, remedy: allow(path) });
		case EACCES:
			return new VfioError("no-permission", `${what}: no permission`, {
				cause,
				remedy: [`sudo chown "$USER" ${path}`, "Or have a launcher that may open it pass its descriptor."],
			});
	}
	return new VfioError("kernel", `${what}: ${cause.message}`, { cause });
}

/**
 * `/dev/vfio/devices/<name>` did not open.
 *
 * @param device whom it was opened for
 * @param cause what open(2) threw
 */
export function explainDeviceNode(path: string, device: string, cause: unknown): unknown {
	if (!(cause instanceof KernelError)) return cause;
	const what = `Cannot open ${device}`;
	const details = { device, cause };
	switch (cause.errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			return new VfioError("no-vfio", `${what}: there is no ${path}`, {
				...details,
				remedy: [`In a container, pass the nodes in: --device ${path} --device /dev/iommu`],
			});
		case EPERM:
			return new VfioError("no-permission", `${what}: ${FORBIDDEN}`, { ...details, remedy: allow(path) });
		case EACCES:
			return new VfioError("no-permission", `${what}: no permission for ${path}`, {
				...details,
				remedy: [
					`sudo chown "$USER" ${path}`,
					`For good, give a Unix group the nodes: echo 'SUBSYSTEM=="vfio-dev", GROUP="kvm", MODE="0660"' | sudo tee /etc/udev/rules.d/10-vfio.rules`,
				],
			});
	}
	return new VfioError("kernel", `${what}: ${cause.message}`, details);
}

/**
 * `/dev/vfio/<group>` did not open.
 *
 * @param device whom it was opened for
 * @param cause what open(2) threw
 */
export function explainGroupNode(kernel: Kernel, group: number, device: string, cause: unknown): unknown {
	if (!(cause instanceof KernelError)) return cause;
	const path = `/dev/vfio/${group}`;
	const what = `Cannot open IOMMU group ${group} of ${device}`;
	const details = { device, cause };
	switch (cause.errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			return noNode(kernel, group, device, cause);
		case EPERM:
			return new VfioError("no-permission", `${what}: ${FORBIDDEN}`, { ...details, remedy: allow(path) });
		case EACCES:
			return new VfioError("no-permission", `${what}: no permission for ${path}`, {
				...details,
				remedy: [
					`sudo chown "$USER" ${path}`,
					`For good, give a Unix group the nodes: echo 'SUBSYSTEM=="vfio", GROUP="kvm", MODE="0660"' | sudo tee /etc/udev/rules.d/10-vfio.rules`,
				],
			});
		case EBUSY:
			return new VfioError(
				"device-in-use",
				`${what}: another process has ${path}, or a device of the group, open, and Linux gives them to one at a time`,
				{
					...details,
					remedy: [
						`sudo fuser -v ${path} /dev/vfio/devices/* shows which process.`,
						"End it, or close the device there.",
					],
				},
			);
	}
	return new VfioError("kernel", `${what}: ${cause.message}`, details);
}

/** No node, because no device of the group is with a VFIO driver. @param cause the kernel's answer */
function noNode(kernel: Kernel, group: number, device: string, cause: unknown): VfioError {
	const pci = new PciSysfs(kernel);
	const member = groupMembers(kernel, group).find(({ name }) => name === device);
	const details = { device, cause };
	if (!pci.driverExists("vfio-pci") && readNames(kernel, "/sys/bus/pci/drivers") !== undefined)
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
	const owner = member?.driver === undefined ? "no driver has it" : `its driver is ${member.driver}`;
	return new VfioError("not-bound", `Cannot open ${device}: it is not bound to vfio-pci, ${owner}`, {
		device,
		cause,
		remedy: bindCommands(member),
	});
}

function bindCommands(member: Member): string[] {
	return member === undefined ? [] : planDevice(member, "vfio-pci").steps.map(shellCommand);
}
