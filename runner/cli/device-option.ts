import { formatPciAddress, parsePciAddress } from "../../core/host/address.ts";
import { locate } from "../../core/host/location.ts";
import { parseSlotAddress, type SlotAddress } from "../../core/machine/slot-address.ts";
import { type AssignOptions, checkOptions } from "../../core/pci/assign-options.ts";
import { ASSIGN_PROPERTIES, assignOptions } from "../../core/pci/properties.ts";
import type { PlatformOptions } from "../../core/platform/options.ts";
import { PLATFORM_PROPERTIES, platformOptions } from "../../core/platform/properties.ts";
import { driverOf, parseId, parseNumber, parseProperties, parseSwitch } from "./properties.ts";
import { UsageError } from "./usage-error.ts";

/** What kind of device a `-device` assigns. */
export type AssignedKind = "vfio-pci" | "vfio-platform";

/**
 * Which device of the host it is: a PCI function by its full address, a platform device by its name, any device by its
 * directory in sysfs, or one that somebody else has opened already.
 */
export type AssignedReference =
	| { readonly host: string }
	| { readonly platform: string }
	| { readonly sysfsdev: string }
	| { readonly fd: number };

/** What `-device vfio-pci,…` or `-device vfio-platform,…` asks for. */
export interface DeviceOption {
	readonly kind: AssignedKind;
	/** The host's device. */
	readonly reference: AssignedReference;
	/** The name the guest machine gives it. */
	readonly id: string | undefined;
	/** The guest's bus: `pcie.0`, or the id of a root port. */
	readonly bus: string | undefined;
	/** Where on that bus: slot and function. */
	readonly addr: SlotAddress | undefined;
	readonly multifunction: boolean;
	/** The `-object iommufd` that maps its DMA; a group's container when left out. */
	readonly iommufd?: string;
	/** The UUID that the owner of a virtual function's physical function has set. */
	readonly vfToken?: string;
	/** Guest memory may be discarded while it is assigned: `x-balloon-allowed=on`, for mediated devices. */
	readonly discardAllowed?: boolean;
	/** How it is assigned, such as by `x-intx=off`; left out when nothing of that is given. */
	readonly assign?: AssignOptions;
	/** The same for a platform device. */
	readonly platform?: PlatformOptions;
}

const SOURCE_KEYS = ["host", "sysfsdev", "fd"];
const PCI_KEYS = [...SOURCE_KEYS, "id", "bus", "addr", "multifunction", "iommufd", "vf-token", "x-balloon-allowed"];

/** What `-device` takes of each kind of device. */
export const DEVICE_KEYS: Readonly<Record<AssignedKind, readonly string[]>> = {
	"vfio-pci": [...PCI_KEYS, ...ASSIGN_PROPERTIES],
	"vfio-platform": [...SOURCE_KEYS, "id", "iommufd", ...PLATFORM_PROPERTIES],
};

/** Whether a word names a kind of device that can be assigned. */
export function isAssignedKind(word: string): word is AssignedKind {
	return Object.hasOwn(DEVICE_KEYS, word);
}

/**
 * Parses the value of `-device`, as QEMU writes it. Where both `host` and `sysfsdev` are given, `sysfsdev` is what counts.
 *
 * @example
 * ```ts
 * const { reference, id, bus, addr } = parseDeviceOption("vfio-pci,host=05:00.0,id=disk,bus=pcie.0,addr=0x3.0x0");
 * reference; // { host: "0000:05:00.0" }
 * addr; // { device: 3, function: 0 }
 * ```
 * @throws UsageError naming the part that is wrong
 * @throws VfioError `malformed-address`, `invalid-argument`
 */
export function parseDeviceOption(text: string): DeviceOption {
	const driver = driverOf(text);
	if (!isAssignedKind(driver))
		throw new UsageError(
			`Cannot use device "${driver}": -device takes vfio-pci,host=ADDRESS[,id=ID][,bus=BUS][,addr=SLOT[.FUNCTION]][,multifunction=on], vfio-platform,host=NAME, or pcie-root-port,id=BUS`,
		);
	const { properties } = parseProperties("-device", text, DEVICE_KEYS[driver]);
	return deviceOption(driver, properties, `-device ${text}`);
}

/**
 * Makes a device's option of its properties, whose names are known already.
 *
 * @param where what they were given to, for errors
 * @throws UsageError, VfioError as {@link parseDeviceOption}
 */
export function deviceOption(kind: AssignedKind, properties: ReadonlyMap<string, string>, where: string): DeviceOption {
	const id = properties.get("id");
	const addr = properties.get("addr");
	const iommufd = properties.get("iommufd");
	const vfToken = properties.get("vf-token");
	const balloon = properties.get("x-balloon-allowed");
	const known = kind === "vfio-pci" ? ASSIGN_PROPERTIES : PLATFORM_PROPERTIES;
	const assign = new Map([...properties].filter(([key]) => known.includes(key)));
	return {
		kind,
		reference: referenceIn(kind, properties, where),
		id: id === undefined ? undefined : parseId(id),
		bus: properties.get("bus"),
		addr: addr === undefined ? undefined : parseSlotAddress(addr),
		multifunction: parseSwitch("multifunction", properties.get("multifunction") ?? "off"),
		...(iommufd === undefined ? {} : { iommufd: parseId(iommufd) }),
		...(vfToken === undefined ? {} : { vfToken: parseToken(vfToken) }),
		...(balloon === undefined ? {} : { discardAllowed: parseSwitch("x-balloon-allowed", balloon) }),
		...(assign.size === 0
			? {}
			: kind === "vfio-pci"
				? { assign: checkedAssign(assign) }
				: { platform: platformOptions(assign) }),
	};
}

/** How a reference is called before its device has been opened. */
export function referenceName(reference: AssignedReference): string {
	return "fd" in reference ? `descriptor ${reference.fd}` : locate(reference).name;
}

function referenceIn(kind: AssignedKind, properties: ReadonlyMap<string, string>, where: string): AssignedReference {
	const [host, sysfsdev, fd] = SOURCE_KEYS.map((key) => properties.get(key));
	if (fd !== undefined) {
		if (host !== undefined || sysfsdev !== undefined)
			throw new UsageError(
				`${where} names its device twice: fd is the device itself, so neither host nor sysfsdev goes with it`,
			);
		if (!properties.has("iommufd"))
			throw new UsageError(
				`${where} has an fd, which is a VFIO character device: add iommufd=ID, and -object iommufd,id=ID`,
			);
		return { fd: parseNumber("fd", fd, 0x7fffffff) };
	}
	if (sysfsdev !== undefined) return checked({ sysfsdev });
	if (host === undefined)
		throw new UsageError(
			`${where} names no device: add ${kind === "vfio-pci" ? "host=ADDRESS, such as host=0000:05:00.0" : "host=NAME, such as host=fff51000.ethernet"}`,
		);
	return kind === "vfio-pci" ? { host: formatPciAddress(parsePciAddress(host)) } : checked({ platform: host });
}

/** Checked here, so that a wrong word takes no device from its driver first. */
function checkedAssign(properties: ReadonlyMap<string, string>): AssignOptions {
	const options = assignOptions(properties);
	checkOptions(options);
	return options;
}

function checked<T extends Exclude<AssignedReference, { fd: number }>>(reference: T): T {
	locate(reference);
	return reference;
}

function parseToken(text: string): string {
	if (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text;
	// The token is a secret between owners, so that no message repeats it.
	throw new UsageError("Property vf-token takes a UUID, such as the one that uuidgen prints");
}
