/**
 * Which devices go together with a guest whose memory is given back, as a balloon does.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import { type DeviceLocation, groupAt } from "../host/location.ts";
import { isMediated } from "../host/mdev.ts";
import type { Kernel } from "../kernel.ts";
import { openDevices } from "./open-devices.ts";
import type { OpenOptions, PassedDevice } from "./open-options.ts";

/**
 * Looks, before a device is opened, whether guest memory may be discarded meanwhile. Only the driver of a mediated device
 * may know which pages it uses; the IOMMU in front of any other has all of them pinned.
 *
 * @throws VfioError `invalid-argument` for a device that is not mediated, or where another one of the group says otherwise
 */
export function checkDiscard(
	kernel: Kernel,
	source: DeviceLocation | PassedDevice,
	{ discardAllowed = false, group }: OpenOptions,
): void {
	if ("fd" in source) {
		if (discardAllowed)
			throw refuse(source.name ?? `descriptor ${source.fd}`, "of a descriptor nobody knows that it is");
		return;
	}
	if (discardAllowed && !isMediated(kernel, source.path)) throw refuse(source.name, "it is none");
	const others = [...openDevices(kernel)].filter((device) => device.discardAllowed !== discardAllowed);
	if (others.length === 0) return;
	const id = group?.id ?? groupAt(kernel, source);
	const other = others.find(({ groupId }) => groupId === id);
	if (!other) return;
	throw new VfioError(
		"invalid-argument",
		`Cannot open ${source.name}: ${other.name} of its IOMMU group ${id} ${discardAllowed ? "does not let" : "lets"} guest memory be discarded`,
		{ device: source.name, remedy: ["Give x-balloon-allowed to all devices of a group, or to none."] },
	);
}

function refuse(device: string, reason: string): VfioError {
	return new VfioError(
		"invalid-argument",
		`Cannot let guest memory be discarded while ${device} is open: that is for mediated devices, and ${reason}`,
		{ device, remedy: ["Leave x-balloon-allowed out, and take the balloon from the guest."] },
	);
}
