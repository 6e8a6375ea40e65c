/**
 * The option that adds a root port, as QEMU and StratoVirt write it.
 *
 * @module
 */
import { parseSlotAddress } from "../../core/machine/slot-address.ts";
import type { RootPortOptions } from "../../core/machine/topology.ts";
import { driverOf, parseId, parseNumber, parseProperties, parseSwitch } from "./properties.ts";
import { UsageError } from "./usage-error.ts";

/** What `-device pcie-root-port,…` asks for. */
export interface RootPortOption {
	/** Also the name of the bus below. */
	readonly id: string;
	readonly options: RootPortOptions;
}

const DRIVER = "pcie-root-port";
/** What it takes. */
export const ROOT_PORT_KEYS: readonly string[] = [
	"id",
	"bus",
	"addr",
	"multifunction",
	"chassis",
	"slot",
	"port",
	"hotplug",
];

/** Whether the value of `-device` is about a root port. */
export function isRootPort(text: string): boolean {
	return driverOf(text) === DRIVER;
}

/**
 * Parses it.
 *
 * @example
 * ```ts
 * const { id, options } = parseRootPortOption("pcie-root-port,id=rp1,addr=0x8");
 * options.address; // { device: 8, function: 0 }
 * ```
 * @throws UsageError naming the part that is wrong
 * @throws VfioError `invalid-argument`
 */
export function parseRootPortOption(text: string): RootPortOption {
	const { properties } = parseProperties("-device", text, ROOT_PORT_KEYS);
	const id = properties.get("id");
	if (!id) throw new UsageError(`-device ${text} has no id: add id=ID, which is the name of the bus below as well`);
	const bus = properties.get("bus") ?? "pcie.0";
	if (bus !== "pcie.0") throw new UsageError(`Root port "${id}" goes into pcie.0, not into ${bus}`);
	const addr = properties.get("addr");
	const number = (key: string) => {
		const value = properties.get(key);
		return value === undefined ? undefined : parseNumber(key, value, 255);
	};
	// The chassis number has no register of its own: it only tells ports apart.
	number("chassis");
	const slot = number("slot");
	const port = number("port");
	return {
		id: parseId(id),
		options: {
			...(addr === undefined ? {} : { address: parseSlotAddress(addr) }),
			multifunction: parseSwitch("multifunction", properties.get("multifunction") ?? "off"),
			...(properties.has("hotplug") ? { hotPlug: parseSwitch("hotplug", properties.get("hotplug") ?? "") } : {}),
			...(slot === undefined ? {} : { slot }),
			...(port === undefined ? {} : { port }),
		},
	};
}
