/**
 * Hot reset: everything below a bridge at once, once its owner has shown that all of it is theirs (contract B.3).
 *
 * @module
 */
import { EAGAIN, EBADF, EFAULT, EINVAL, ENODEV, ENOSPC, EPERM } from "../../../core/uapi/errno.ts";
import {
	VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
	VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
	vfio_pci_dependent_device,
	vfio_pci_hot_reset,
	vfio_pci_hot_reset_info,
} from "../../../core/uapi/vfio.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { IoctlArgument } from "../file.ts";
import type { IommuGroup } from "../iommu-group.ts";
import type { IommufdContext } from "../iommufd/context.ts";
import type { SimProcess } from "../process.ts";
import { GroupFile } from "../vfio/group.ts";
import type { VfioPciDevice } from "./device.ts";
import { functionsBelow, resetBelow } from "./reset.ts";

/** VFIO_PCI_DEVID_OWNED, and VFIO_PCI_DEVID_NOT_OWNED as it is written. */
const OWNED = 0;
const NOT_OWNED = 0xffff_ffff;

/** VFIO_DEVICE_GET_PCI_HOT_RESET_INFO. @returns 0 or a negative errno */
export function getHotResetInfo(device: VfioPciDevice, argument: IoctlArgument): number {
	const header = argument.read(vfio_pci_hot_reset_info.size);
	if (!header) return -EFAULT;
	const info = vfio_pci_hot_reset_info.view(header.slice());
	if (info.argsz < vfio_pci_hot_reset_info.size) return -EINVAL;
	const affected = affectedBy(device);
	if (!affected) return -ENODEV;
	const bound = device.record?.exclusive ? device.record.binding?.file.context : undefined;
	info.flags = 0;
	info.count = affected.length;
	if (info.argsz < vfio_pci_hot_reset_info.size + affected.length * vfio_pci_dependent_device.size)
		return argument.write(info.bytes) ? -ENOSPC : -EFAULT;
	const entries = new Uint8Array(affected.length * vfio_pci_dependent_device.size);
	if (bound) info.flags = VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
	for (const [index, fn] of affected.entries()) {
		const id = bound
			? deviceId(device.siblings.get(fn), bound)
			: (device.siblings.get(fn)?.device.group?.id ?? device.machine.groupOf(fn));
		if (id === undefined) return -EPERM;
		if (bound && id === NOT_OWNED) info.flags &= ~VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
		const entry = vfio_pci_dependent_device.view(entries, index * vfio_pci_dependent_device.size);
		entry.group_id = id;
		entry.segment = fn.address.domain;
		entry.bus = fn.address.bus;
		entry.devfn = (fn.address.device << 3) | fn.address.function;
	}
	return argument.write(info.bytes) && argument.write(entries, vfio_pci_hot_reset_info.size) ? 0 : -EFAULT;
}

/** A device's number in a context: 0 when the context has its group without it, -1 as 32 bits when it has neither. */
function deviceId(device: VfioPciDevice | undefined, context: IommufdContext): number {
	const binding = device?.record?.binding;
	if (binding?.file.context === context) return binding.id;
	const group = device?.device.group;
	return group && context.groups.has(group) ? OWNED : NOT_OWNED;
}

/** VFIO_DEVICE_PCI_HOT_RESET: with descriptors of groups, or, on a bound character device, with none. @returns 0 or a negative errno */
export function hotReset(device: VfioPciDevice, process: SimProcess, argument: IoctlArgument): number {
	const header = argument.read(vfio_pci_hot_reset.size);
	if (!header) return -EFAULT;
	const { argsz, flags, count } = vfio_pci_hot_reset.view(header);
	const context = device.record?.exclusive ? device.record.binding?.file.context : undefined;
	if (argsz < vfio_pci_hot_reset.size || flags !== 0 || (count === 0) !== (context !== undefined)) return -EINVAL;
	const affected = affectedBy(device);
	const bridge = device.machine.bridgeOf(device.fn);
	if (!affected || !bridge) return -ENODEV;
	if (count > affected.length) return -EINVAL;
	const fds = argument.read(4 * count, vfio_pci_hot_reset.size);
	if (!fds) return -EFAULT;
	const groups = new Set<IommuGroup>();
	for (let index = 0; index < count; index++) {
		const fd = new DataView(fds.buffer, fds.byteOffset).getInt32(4 * index, true);
		const file = process.file(fd);
		if (!file) return -EBADF;
		if (!(file instanceof GroupFile)) return -EINVAL;
		groups.add(file.group.iommuGroup);
	}
	const owned: VfioPciDevice[] = [];
	for (const fn of affected) {
		const sibling = device.siblings.get(fn);
		if (!sibling?.device.group) return -EINVAL;
		if (context ? deviceId(sibling, context) === NOT_OWNED : !groups.has(sibling.device.group)) return -EINVAL;
		owned.push(sibling);
	}
	if (owned.some((sibling) => sibling.device.leaving)) return -EAGAIN;
	for (const sibling of owned) {
		sibling.opened?.revokeExports();
		sibling.opened?.power.setState(0);
	}
	resetBelow(bridge, device.machine);
	for (const sibling of owned) sibling.needsReset = false;
	return 0;
}

/**
 * After the last close: resets a bus whose devices have no reset of their own, once nobody uses any of them.
 *
 * @returns whether it was reset
 */
export function resetBusIfIdle(device: VfioPciDevice): boolean {
	const affected = affectedBy(device);
	const bridge = device.machine.bridgeOf(device.fn);
	if (!affected || !bridge) return false;
	const siblings = affected.map((fn) => device.siblings.get(fn));
	if (!siblings.every((sibling) => sibling && !sibling.opened && !sibling.device.leaving)) return false;
	if (!siblings.some((sibling) => sibling?.needsReset)) return false;
	resetBelow(bridge, device.machine);
	for (const sibling of siblings) if (sibling) sibling.needsReset = false;
	return true;
}

/** Everything that a reset of the device's bus hits; undefined where there is no bridge to do it. */
function affectedBy(device: VfioPciDevice): PciFunction[] | undefined {
	const bridge = device.machine.bridgeOf(device.fn);
	return bridge && functionsBelow(bridge, device.machine);
}
