/**
 * `driver,key=value,…`: how QEMU writes what an option is made of.
 *
 * @module
 */
import { nearest } from "./nearest.ts";
import { UsageError } from "./usage-error.ts";

/** An option's value, cut up. */
export interface OptionValue {
	/** The word before the first comma, such as `vfio-pci`. */
	readonly driver: string;
	readonly properties: ReadonlyMap<string, string>;
}

/** The word before the first comma. */
export function driverOf(text: string): string {
	return parts(text)[0] ?? "";
}

/**
 * Cuts an option's value up. A comma in a value is written twice, as for QEMU.
 *
 * @param option what the value was given to, such as `-device`, for errors
 * @param known the keys there are
 * @throws UsageError for a key that is unknown (naming the nearest one), given twice or without a value
 * @example
 * ```ts
 * const { driver, properties } = parseProperties("-object", "iommufd,id=iommu0", ["id", "fd"]);
 * driver; // "iommufd"
 * properties.get("id"); // "iommu0"
 * ```
 */
export function parseProperties(option: string, text: string, known: readonly string[]): OptionValue {
	const [driver = "", ...rest] = parts(text);
	const properties = new Map<string, string>();
	for (const part of rest) {
		const [key = "", value] = part.split(/=(.*)/s);
		if (!known.includes(key)) throw unknownProperty(key, known, `${option} ${text}`);
		if (value === undefined) throw new UsageError(`Property "${key}" in ${option} ${text} needs a value: ${key}=…`);
		if (properties.has(key)) throw new UsageError(`Property "${key}" is given twice in ${option} ${text}`);
		properties.set(key, value);
	}
	return { driver, properties };
}

/** @param where what it was given to */
export function unknownProperty(key: string, known: readonly string[], where: string): UsageError {
	const near = nearest(key, known);
	return new UsageError(
		`Unknown property "${key}" in ${where}${near ? `, did you mean "${near}"?` : `; known are ${known.join(", ")}`}`,
	);
}

/** `on` or `off`, and the words that mean the same. @throws UsageError */
export function parseSwitch(key: string, text: string): boolean {
	if (["on", "true", "yes"].includes(text)) return true;
	if (["off", "false", "no"].includes(text)) return false;
	throw new UsageError(`Property ${key} takes on or off, not "${text}"`);
}

/** A whole number, decimal or with 0x. @throws UsageError naming the range */
export function parseNumber(key: string, text: string, limit: number): number {
	if (/^(?:0[xX][0-9a-fA-F]+|\d+)$/.test(text) && Number(text) <= limit) return Number(text);
	throw new UsageError(`Property "${key}" takes a number from 0 to ${limit}, not "${text}"`);
}

/** Longer ones are refused by StratoVirt; QEMU has no limit. */
const LONGEST_ID = 255;

/** The name of a device or an object. @throws UsageError when nobody could refer to it */
export function parseId(text: string): string {
	if (text === "") throw new UsageError("An id is empty: give it a letter at least");
	if (text.length > LONGEST_ID)
		throw new UsageError(`An id has at most ${LONGEST_ID} characters, and "${text.slice(0, 16)}…" has ${text.length}`);
	return text;
}

function parts(text: string): string[] {
	const found: string[] = [];
	let part = "";
	for (let at = 0; at < text.length; at++) {
		const twice = text.startsWith(",,", at);
		if (text[at] === "," && !twice) {
			found.push(part);
			part = "";
		} else part += text[at];
		if (twice) at++;
	}
	return [...found, part];
}
