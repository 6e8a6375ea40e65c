/**
 * The option that adds a root port, as QEMU writes it.
 *
 * @module
 */
import { parseSlotAddress } from "../../core/machine/slot-address.ts";
import type { RootPortOptions } from "../../core/machine/topology.ts";
import { nearest } from "../cli/nearest.ts";
import { UsageError } from "../cli/usage-error.ts";

/** What `-device pcie-root-port,…` asks for. */
export interface RootPortOption {
	/** Also the name of the bus below. */
	readonly id: string;
	readonly options: RootPortOptions;
}

const DRIVER = "pcie-root-port";
const KEYS = ["id", "bus", "addr", "multifunction", "chassis", "slot", "port"];

/** Whether the value of `-device` is about a root port. */
export function isRootPort(text: string): boolean {
	return text.split(",", 1)[0] === DRIVER;
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
	const properties = new Map<string, string>();
	for (const part of text.split(",").slice(1)) {
		const [key = "", value] = part.split(/=(.*)/s);
		if (!KEYS.includes(key)) {
			const near = nearest(key, KEYS);
			throw new UsageError(
				`Unknown property "${key}" in -device ${text}${near ? `, did you mean "${near}"?` : `; known are ${KEYS.join(", ")}`}`,
			);
		}
		if (value === undefined) throw new UsageError(`Property "${key}" in -device ${text} needs a value: ${key}=…`);
		if (properties.has(key)) throw new UsageError(`Property "${key}" is given twice in -device ${text}`);
		properties.set(key, value);
	}
	const id = properties.get("id");
	if (!id) throw new UsageError(`-device ${text} has no id: add id=ID, which is the name of the bus below as well`);
	const bus = properties.get("bus") ?? "pcie.0";
	if (bus !== "pcie.0") throw new UsageError(`Root port "${id}" goes into pcie.0, not into ${bus}`);
	const addr = properties.get("addr");
	// The chassis number has no register of its own: it only tells ports apart.
	number(properties, "chassis", text);
	const slot = number(properties, "slot", text);
	const port = number(properties, "port", text);
	return {
		id,
		options: {
			...(addr === undefined ? {} : { address: parseSlotAddress(addr) }),
			multifunction: ["on", "true", "yes"].includes(properties.get("multifunction") ?? "off"),
			...(slot === undefined ? {} : { slot }),
			...(port === undefined ? {} : { port }),
		},
	};
}

function number(properties: ReadonlyMap<string, string>, key: string, text: string): number | undefined {
	const value = properties.get(key);
	if (value === undefined) return undefined;
	if (!/^(?:0[xX][0-9a-fA-F]+|\d+)$/.test(value) || Number(value) > 255)
		throw new UsageError(`Property "${key}" in -device ${text} takes a number from 0 to 255, not "${value}"`);
	return Number(value);
}
