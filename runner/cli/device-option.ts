import { type PciAddress, parsePciAddress } from "../../core/host/address.ts";
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
	readonly addr: { readonly slot: number; readonly function: number } | undefined;
	readonly multifunction: boolean;
}

const KEYS = ["host", "id", "bus", "addr", "multifunction"];

/**
 * Parses the value of `-device`, as QEMU writes it.
 *
 * @example
 * ```ts
 * parseDeviceOption("vfio-pci,host=05:00.0,id=disk,bus=pcie.0,addr=0x3.0x0");
 * ```
 * @throws UsageError naming the part that is wrong
 * @throws VfioError malformed-address
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
	return {
		host: parsePciAddress(host),
		id: properties.get("id"),
		bus: properties.get("bus"),
		addr: addr === undefined ? undefined : parseSlot(addr),
		multifunction: parseSwitch(properties.get("multifunction") ?? "off"),
	};
}

function parseSlot(text: string): { slot: number; function: number } {
	const parts = text.split(".");
	if (parts.length > 2) throw new UsageError(`Property addr takes SLOT[.FUNCTION], not "${text}"`);
	return { slot: parseNumber("slot", parts[0] ?? "", 31), function: parseNumber("function", parts[1] ?? "0", 7) };
}

function parseNumber(what: string, text: string, last: number): number {
	const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
	if (!(value <= last)) throw new UsageError(`Property addr has no ${what} "${text}": a ${what} is 0 to ${last}`);
	return value;
}

function parseSwitch(text: string): boolean {
	if (["on", "true", "yes"].includes(text)) return true;
	if (["off", "false", "no"].includes(text)) return false;
	throw new UsageError(`Property multifunction takes on or off, not "${text}"`);
}
