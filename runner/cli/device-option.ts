import { type PciAddress, parsePciAddress } from "../../core/host/address.ts";
import { parseSlotAddress, type SlotAddress } from "../../core/machine/slot-address.ts";
import type { AssignOptions } from "../../core/pci/assign-options.ts";
import { ASSIGN_PROPERTIES, assignOptions } from "../../core/pci/properties.ts";
import { nearest } from "./nearest.ts";
import { UsageError } from "./usage-error.ts";

/** What `-device vfio-pci,…` asks for. */
export interface DeviceOption {
	/** The host's device. */
	readonly host: PciAddress;
	/** The name the guest machine gives it. */
	readonly id: string | undefined;
	/** The guest's bus: `pcie.0`, or the id of a root port. */
	readonly bus: string | undefined;
	/** Where on that bus: slot and function. */
	readonly addr: SlotAddress | undefined;
	readonly multifunction: boolean;
	/** How it is assigned, such as by `x-intx=off`; left out when nothing of that is given. */
	readonly assign?: AssignOptions;
}

const OWN_KEYS = ["host", "id", "bus", "addr", "multifunction"];
const KEYS = [...OWN_KEYS, ...ASSIGN_PROPERTIES];

/**
 * Parses the value of `-device`, as QEMU writes it.
 *
 * @example
 * ```ts
 * const { host, id, bus, addr } = parseDeviceOption("vfio-pci,host=05:00.0,id=disk,bus=pcie.0,addr=0x3.0x0");
 * host; // { domain: 0, bus: 5, device: 0, function: 0 }
 * addr; // { device: 3, function: 0 }
 * ```
 * @throws UsageError naming the part that is wrong
 * @throws VfioError `malformed-address`, `invalid-argument`
 */
export function parseDeviceOption(text: string): DeviceOption {
	const [driver, ...parts] = text.split(",");
	if (driver !== "vfio-pci")
		throw new UsageError(
			`Cannot use device "${driver}": -device takes vfio-pci,host=ADDRESS[,id=ID][,bus=BUS][,addr=SLOT[.FUNCTION]][,multifunction=on]`,
		);
	const properties = new Map<string, string>();
	for (const part of parts) {
		const equals = part.indexOf("=");
		const key = equals < 0 ? part : part.slice(0, equals);
		if (!KEYS.includes(key)) {
			const near = nearest(key, KEYS);
			throw new UsageError(
				`Unknown property "${key}" in -device ${text}${near ? `, did you mean "${near}"?` : `; known are ${KEYS.join(", ")}`}`,
			);
		}
		if (equals < 0) throw new UsageError(`Property "${key}" in -device ${text} needs a value: ${key}=…`);
		if (properties.has(key)) throw new UsageError(`Property "${key}" is given twice in -device ${text}`);
		properties.set(key, part.slice(equals + 1));
	}
	const host = properties.get("host");
	if (host === undefined)
		throw new UsageError(`-device ${text} names no device: add host=ADDRESS, such as host=0000:05:00.0`);
	const addr = properties.get("addr");
	const assign = new Map([...properties].filter(([key]) => !OWN_KEYS.includes(key)));
	return {
		host: parsePciAddress(host),
		id: properties.get("id"),
		bus: properties.get("bus"),
		addr: addr === undefined ? undefined : parseSlotAddress(addr),
		multifunction: parseSwitch(properties.get("multifunction") ?? "off"),
		...(assign.size > 0 ? { assign: assignOptions(assign) } : {}),
	};
}

function parseSwitch(text: string): boolean {
	if (["on", "true", "yes"].includes(text)) return true;
	if (["off", "false", "no"].includes(text)) return false;
	throw new UsageError(`Property multifunction takes on or off, not "${text}"`);
}
