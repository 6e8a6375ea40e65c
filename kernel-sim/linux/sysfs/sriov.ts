/**
 * SR-IOV in the directories of physical and virtual functions.
 *
 * @module
 */
import { EDEADLK, EINVAL, EOPNOTSUPP } from "../../../core/uapi/errno.ts";
import type { PciDevice } from "../driver.ts";
import type { AttributeOptions } from "../file-content.ts";
import { type FileSystem, relativeLink } from "../filesystem.ts";
import { parseBoolean, parseNumber } from "../text.ts";
import type { VirtualFunctions } from "../virtual-functions.ts";

const MOST = 0xffff;

/** The attributes of a physical function, or of a virtual one; none of any other. */
export function sriovAttributes(device: PciDevice): Readonly<Record<string, AttributeOptions>> {
	const { virtualFunctions, physical } = device;
	// No driver here can move interrupt vectors from one virtual function to another.
	if (physical)
		return { sriov_vf_msix_count: { store: (text) => (parseNumber(text) === undefined ? -EINVAL : -EOPNOTSUPP) } };
	return virtualFunctions ? physicalAttributes(device, virtualFunctions) : {};
}

function physicalAttributes(
	device: PciDevice,
	functions: VirtualFunctions,
): Readonly<Record<string, AttributeOptions>> {
	const number = (value: () => number) => ({ show: () => `${value()}\n` });
	return {
		sriov_totalvfs: number(() => functions.total),
		sriov_numvfs: {
			// It waits for whoever is changing it, and that is the only thread there is.
			show: () => (device.leaving ? -EDEADLK : `${functions.count}\n`),
			store: (text) => {
				const count = parseNumber(text);
				return count === undefined || count > MOST ? -EINVAL : functions.configure(count);
			},
		},
		sriov_offset: number(() => functions.offset),
		sriov_stride: number(() => functions.stride),
		sriov_vf_device: { show: () => `${functions.deviceId.toString(16)}\n` },
		sriov_vf_total_msix: number(() => 0),
		sriov_drivers_autoprobe: {
			show: () => (functions.autoprobe ? "1\n" : "0\n"),
			store: (text) => {
				const value = parseBoolean(text);
				if (value === undefined) return -EINVAL;
				functions.autoprobe = value;
				return 0;
			},
		},
	};
}

/** A virtual function is there: links from its physical function to it, and back. */
export function addVirtualFunctionLinks(files: FileSystem, device: PciDevice): void {
	const { physical } = device;
	if (!physical) return;
	const there = virtfn(device, physical);
	const back = `${device.syspath}/physfn`;
	files.link(there, relativeLink(there, device.syspath));
	files.link(back, relativeLink(back, physical.syspath));
}

/** It is about to go, although it may take its time. */
export function removeVirtualFunctionLinks(files: FileSystem, device: PciDevice): void {
	const { physical } = device;
	if (!physical) return;
	files.remove(virtfn(device, physical));
	files.remove(`${device.syspath}/physfn`);
}

function virtfn(device: PciDevice, physical: PciDevice): string {
	return `${physical.syspath}/virtfn${device.fn.virtual?.index ?? 0}`;
}
