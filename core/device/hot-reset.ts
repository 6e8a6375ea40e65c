/**
 * Resetting everything behind a slot or a bus at once.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { formatPciAddress } from "../host/address.ts";
import type { Kernel } from "../kernel.ts";
import { isErrno, retry } from "../retry.ts";
import { EAGAIN, ENODEV, ENOSPC } from "../uapi/errno.ts";
import {
	VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
	VFIO_DEVICE_PCI_HOT_RESET,
	vfio_pci_dependent_device,
	vfio_pci_hot_reset,
	vfio_pci_hot_reset_info,
} from "../uapi/vfio.ts";
import { Group } from "./group.ts";

/** A device that a hot reset would reset. */
export interface HotResetDevice {
	/** Such as `0000:05:00.1`. */
	readonly name: string;
	/** Its IOMMU group. */
	readonly group: number;
}

/**
 * `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`: every device, of whatever driver, that a reset of the slot or bus reaches.
 *
 * @throws VfioError `reset-failed` when the slot or bus cannot be reset
 */
export function hotResetInfo(kernel: Kernel, fd: number, device: string): HotResetDevice[] {
	const ask = (count: number) => {
		const info = vfio_pci_hot_reset_info.create(count * vfio_pci_dependent_device.size);
		info.argsz = info.bytes.length;
		try {
			// EAGAIN: a device came or went between the kernel's two counts.
			retry(() => kernel.ioctl(fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info.bytes), EAGAIN);
			return { info, enough: true };
		} catch (cause) {
			if (isErrno(cause, ENOSPC)) return { info, enough: false };
			const reason = isErrno(cause, ENODEV) ? "neither its slot nor its bus can be reset" : (cause as Error).message;
			throw new VfioError("reset-failed", `Cannot hot reset ${device}: ${reason}`, { device, cause });
		}
	};
	let answer = ask(0);
	// The first answer only counts. Each further round means that a device was plugged in meanwhile.
	for (let round = 0; !answer.enough && round < 8; round++) answer = ask(answer.info.count);
	if (!answer.enough)
		throw new VfioError("reset-failed", `Cannot hot reset ${device}: its bus does not stop changing`, { device });
	return Array.from({ length: answer.info.count }, (_, index) => {
		const at = vfio_pci_hot_reset_info.size + index * vfio_pci_dependent_device.size;
		const entry = vfio_pci_dependent_device.view(answer.info.bytes, at);
		const name = formatPciAddress({
			domain: entry.segment,
			bus: entry.bus,
			device: entry.devfn >> 3,
			function: entry.devfn & 7,
		});
		return { name, group: entry.group_id };
	});
}

/**
 * `VFIO_DEVICE_PCI_HOT_RESET`. It resets every device of {@link hotResetInfo}, so this process has to own all their groups.
 *
 * @throws VfioError `reset-failed`, which names the groups that are missing
 */
export function hotReset(kernel: Kernel, fd: number, device: string): void {
	const affected = hotResetInfo(kernel, fd, device);
	const fds = new Map<number, number>();
	const missing: HotResetDevice[] = [];
	for (const other of affected) {
		const group = Group.find(kernel, other.group);
		if (group) fds.set(group.id, group.fd);
		else missing.push(other);
	}
	if (missing.length > 0) {
		const list = missing.map(({ name, group }) => `${name} (group ${group})`).join(", ");
		throw new VfioError("reset-failed", `Cannot hot reset ${device}: it would also reset ${list}, not owned here`, {
			device,
			remedy: missing.map(({ name }) => `Bind ${name} to vfio-pci and open it in the same process.`),
		});
	}
	const reset = vfio_pci_hot_reset.create(fds.size * 4);
	reset.argsz = reset.bytes.length;
	reset.count = fds.size;
	const list = new DataView(reset.bytes.buffer, vfio_pci_hot_reset.size);
	[...fds.values()].forEach((groupFd, index) => {
		list.setInt32(index * 4, groupFd, true);
	});
	try {
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_PCI_HOT_RESET, reset.bytes), EAGAIN);
	} catch (cause) {
		throw new VfioError("reset-failed", `Cannot hot reset ${device}: ${(cause as Error).message}`, { device, cause });
	}
}
