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
	VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
	VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
	vfio_pci_dependent_device,
	vfio_pci_hot_reset,
	vfio_pci_hot_reset_info,
} from "../uapi/vfio.ts";
import { Group } from "./group.ts";
import { type DeviceIdentity, openDevices } from "./open-devices.ts";

/** A device that a hot reset would reset. */
export interface HotResetDevice {
	/** What it is called here when this process has it open, which need not be its address; else its address. */
	readonly name: string;
	/** Such as `0000:05:00.1`. */
	readonly address: string;
	/** Its IOMMU group; undefined when the device that was asked is a character device, for which groups do not count. */
	readonly group: number | undefined;
	/** This process may reset it: it has its group, or the device is bound to the same iommufd, or of the group of one that is. */
	readonly owned: boolean;
	/** This process has it open. */
	readonly inUse: boolean;
}

/** In the place of a device's id: none of its group is bound to this iommufd. */
const NOT_OWNED = 0xffff_ffff;
/** And: it is not open here, but its group is this iommufd's. */
const NOT_OPEN = 0;

interface HotResetInfo {
	readonly devices: readonly HotResetDevice[];
	/** The kernel counts ids in an iommufd instead of groups, as it does for character devices. */
	readonly byDeviceId: boolean;
	/** With ids: everything belongs to this iommufd. */
	readonly allOwned: boolean;
}

/** All functions of all buses of a PCI segment: no reset reaches more. */
const MOST = 65536;

/**
 * `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`: every device, of whatever driver, that a reset of the slot or bus reaches.
 *
 * @throws VfioError `reset-failed` when the slot or bus cannot be reset
 */
export function hotResetInfo(kernel: Kernel, fd: number, device: DeviceIdentity): HotResetDevice[] {
	return [...ask(kernel, fd, device).devices];
}

function ask(kernel: Kernel, fd: number, device: DeviceIdentity): HotResetInfo {
	const request = (count: number) => {
		const info = vfio_pci_hot_reset_info.create(count * vfio_pci_dependent_device.size);
		info.argsz = info.bytes.length;
		try {
			// EAGAIN: a device came or went between the kernel's two counts.
			retry(() => kernel.ioctl(fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info.bytes), EAGAIN);
			// A count above the room that was given names devices that are not in the answer.
			return { info, enough: info.count <= count };
		} catch (cause) {
			if (isErrno(cause, ENOSPC)) return { info, enough: false };
			const reason = isErrno(cause, ENODEV) ? "neither its slot nor its bus can be reset" : (cause as Error).message;
			throw failed(device, reason, { cause });
		}
	};
	let answer = request(0);
	// The first answer only counts. Each further round means that a device was plugged in meanwhile.
	for (let round = 0; !answer.enough && round < 8; round++) {
		const { count } = answer.info;
		if (count > MOST) throw failed(device, `the kernel speaks of ${count} devices`);
		answer = request(count);
	}
	if (!answer.enough) throw failed(device, "its bus does not stop changing");
	const { info } = answer;
	// What the first field of an entry is depends on how the device was opened, and the kernel says which.
	const byDeviceId = (info.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID) !== 0;
	const devices = Array.from({ length: info.count }, (_, index) => {
		const at = vfio_pci_hot_reset_info.size + index * vfio_pci_dependent_device.size;
		const { group_id: id, segment, bus, devfn } = vfio_pci_dependent_device.view(info.bytes, at);
		const address = formatPciAddress({ domain: segment, bus, device: devfn >> 3, function: devfn & 7 });
		return byDeviceId ? byId(kernel, device, address, id) : byGroup(kernel, address, id);
	});
	return { devices, byDeviceId, allOwned: (info.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED) !== 0 };
}

/** VFIO opens a device of a group by its name on its bus, so that here, and only here, an address is an identity. */
function byGroup(kernel: Kernel, address: string, group: number): HotResetDevice {
	const owner = Group.find(kernel, group);
	return { name: address, address, group, owned: owner !== undefined, inUse: owner?.devices.has(address) === true };
}

function byId(kernel: Kernel, asked: DeviceIdentity, address: string, id: number): HotResetDevice {
	const open = [...openDevices(kernel)].find(
		({ bound }) => bound !== undefined && bound.iommufd === asked.bound?.iommufd && bound.devid === id,
	);
	const owned = id !== NOT_OWNED;
	// One with an id that is not in our books was bound to this iommufd by somebody who has it, too.
	return { name: open?.name ?? address, address, group: undefined, owned, inUse: owned && id !== NOT_OPEN };
}

/**
 * `VFIO_DEVICE_PCI_HOT_RESET`. It resets every device of {@link hotResetInfo}, so this process has to own them all: by
 * their groups, or by the iommufd that they are bound to.
 *
 * @throws VfioError `reset-failed`, which names what is missing
 */
export function hotReset(kernel: Kernel, fd: number, device: DeviceIdentity): void {
	const { devices, byDeviceId, allOwned } = ask(kernel, fd, device);
	const missing = devices.filter(({ owned }) => !owned);
	if (missing.length > 0 || (byDeviceId && !allOwned)) throw notOwned(device, missing, byDeviceId);
	const fds = byDeviceId ? [] : groupFds(kernel, devices);
	const reset = vfio_pci_hot_reset.create(fds.length * 4);
	reset.argsz = reset.bytes.length;
	reset.count = fds.length;
	const list = new DataView(reset.bytes.buffer, vfio_pci_hot_reset.size);
	fds.forEach((groupFd, index) => {
		list.setInt32(index * 4, groupFd, true);
	});
	try {
		retry(() => kernel.ioctl(fd, VFIO_DEVICE_PCI_HOT_RESET, reset.bytes), EAGAIN);
	} catch (cause) {
		throw failed(device, (cause as Error).message, { cause });
	}
}

/** Each group once. */
function groupFds(kernel: Kernel, devices: readonly HotResetDevice[]): number[] {
	return [...new Set(devices.flatMap(({ group }) => (group === undefined ? [] : [group])))].flatMap(
		(group) => Group.find(kernel, group)?.fd ?? [],
	);
}

function notOwned(device: DeviceIdentity, missing: readonly HotResetDevice[], byDeviceId: boolean): VfioError {
	const where = byDeviceId ? "with the same iommufd" : "in the same process";
	return failed(device, `it would also reset ${describeMembers(missing) || "others"}, not owned here`, {
		remedy: missing.map(({ address }) => `Bind ${address} to vfio-pci and open it ${where}.`),
	});
}

/** What a person calls devices of a hot reset, such as `0000:05:00.1 (group 26)`. */
export function describeMembers(members: readonly Pick<HotResetDevice, "name" | "group">[]): string {
	return members.map((member) => describeMember(member)).join(", ");
}

/** One of them. @param note more about it, such as `in use here` */
export function describeMember({ name, group }: Pick<HotResetDevice, "name" | "group">, note?: string): string {
	const about = [...(group === undefined ? [] : [`group ${group}`]), ...(note === undefined ? [] : [note])];
	return about.length === 0 ? name : `${name} (${about.join(", ")})`;
}

function failed(
	device: DeviceIdentity,
	reason: string,
	details: { readonly cause?: unknown; readonly remedy?: readonly string[] } = {},
): VfioError {
	const { name } = device;
	return new VfioError("reset-failed", `Cannot hot reset ${name}: ${reason}`, { device: name, ...details });
}
