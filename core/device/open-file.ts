/**
 * Which way a device is opened: through its IOMMU group, or by its character device.
 *
 * @module
 */
import { KernelError, VfioError } from "../errors.ts";
import { type DeviceLocation, type DeviceReference, locate } from "../host/location.ts";
import { isUuid } from "../host/uuid.ts";
import { usesVfToken } from "../host/vf-token.ts";
import type { Kernel } from "../kernel.ts";
import { Releases } from "../release.ts";
import { cdevName } from "./cdev.ts";
import type { DeviceFile } from "./device-file.ts";
import { checkDiscard } from "./discard.ts";
import { openByCdev } from "./open-by-cdev.ts";
import { openByGroup } from "./open-by-group.ts";
import type { OpenOptions, PassedDevice } from "./open-options.ts";

/** Which of Linux's two ways a device was opened. */
export interface OpenedBy {
	readonly way: "group" | "character-device";
	/** What was opened, such as `/dev/vfio/25`, `/dev/vfio/devices/vfio3` or `descriptor 5`. */
	readonly node: string;
	/** Why it was that. */
	readonly reason: string;
}

/**
 * Opens a device's file in the way that is asked for. Where nothing is asked for, that is the group, since every kernel
 * has groups that has VFIO; but for kernels built without, or processes that were given only the character devices.
 *
 * @param releases takes what gives the device back
 * @throws VfioError as {@link VfioDevice.open}
 */
export function openFile(
	kernel: Kernel,
	reference: DeviceReference | PassedDevice,
	options: OpenOptions,
	releases: Releases,
): { readonly file: DeviceFile; readonly opened: OpenedBy } {
	const passed = typeof reference === "object" && "fd" in reference;
	const source = passed ? reference : locate(reference);
	requireUuid(options.vfToken, source.name ?? "the device");
	const asked = passed ? "its descriptor was passed" : askedFor(options);
	checkDiscard(kernel, source, options);
	// Before anything is pinned, and until nothing is.
	if (!options.discardAllowed && options.addressSpace) releases.use(options.addressSpace.holdMemory());
	const checked = "fd" in source ? options : withoutIdleToken(kernel, source, options);
	if (asked !== undefined) {
		if (options.container || options.group)
			throw new VfioError("invalid-argument", "Cannot open a device with iommufd and through its group at once");
		return by("character-device", openByCdev(kernel, source, checked, releases), asked);
	}
	const location = source as DeviceLocation;
	let reason: string;
	try {
		return by("group", openByGroupOrNot(kernel, location, checked, releases), "nothing else was asked for");
	} catch (error) {
		const missing = missingNode(error);
		if (missing === undefined || options.container || options.group || cdevName(kernel, location) === undefined)
			throw error;
		reason = missing;
	}
	const file = openByCdev(kernel, location, checked, releases);
	options.onReport?.(`${location.name} is opened by its character device ${file.node} with iommufd, since ${reason}`);
	return by("character-device", file, reason);
}

/** The group's call takes options in one text with the name, so that a token must not be one. */
function requireUuid(vfToken: string | undefined, device: string): void {
	if (vfToken !== undefined && !isUuid(vfToken))
		throw new VfioError("invalid-argument", `Cannot open ${device}: its VF token is no UUID`, {
			device,
			remedy: ["Such as 00112233-4455-6677-8899-aabbccddeeff."],
		});
}

/** What was opened is closed before it throws: a group that is open keeps its devices from iommufd. */
function openByGroupOrNot(
	kernel: Kernel,
	location: DeviceLocation,
	options: OpenOptions,
	releases: Releases,
): DeviceFile {
	const attempt = new Releases();
	try {
		const file = openByGroup(kernel, location, options, attempt);
		releases.use(attempt.move());
		return file;
	} finally {
		attempt[Symbol.dispose]();
	}
}

function by(way: OpenedBy["way"], file: DeviceFile, reason: string) {
	return { file, opened: { way, node: file.node, reason } };
}

function askedFor({ iommufd, ioas, addressSpace }: OpenOptions): string | undefined {
	if (iommufd || ioas) return "iommufd was asked for";
	return addressSpace?.requiresIommufd ? "its address space is one of iommufd" : undefined;
}

/** Why there is no way through the group, when it is the node of the group or of containers that is missing. */
function missingNode(error: unknown): string | undefined {
	if (!(error instanceof VfioError) || (error.code !== "no-vfio" && error.code !== "not-bound")) return undefined;
	const { cause } = error;
	if (!(cause instanceof KernelError) || !cause.target.startsWith("/dev/vfio/")) return undefined;
	return cause.target === "/dev/vfio/vfio" ? "there is no /dev/vfio/vfio" : "its IOMMU group has no node in /dev/vfio";
}

/**
 * A token belongs to virtual functions whose physical one is assigned, and to those; the kernel refuses others that have
 * one, which a program with one token for all its devices does not know.
 */
function withoutIdleToken(kernel: Kernel, location: DeviceLocation, options: OpenOptions): OpenOptions {
	if (options.vfToken === undefined || usesVfToken(kernel, location)) return options;
	const { vfToken: _, ...rest } = options;
	options.onReport?.(
		`The VF token is not used for ${location.name}, which shares no SR-IOV device with another process`,
	);
	return rest;
}
