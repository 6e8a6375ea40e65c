/**
 * The values of properties, as QEMU writes them.
 *
 * @module
 */
import { VfioError } from "./errors.ts";

/** A switch. @throws VfioError `invalid-argument` */
export function switchValue(value: string, name: string): boolean {
	if (["on", "true", "yes", "1"].includes(value)) return true;
	if (["off", "false", "no", "0"].includes(value)) return false;
	throw new VfioError("invalid-argument", `Cannot use "${value}" for ${name}: it is "on" or "off"`);
}

/** A number that is not negative. @throws VfioError `invalid-argument` */
export function numberValue(value: string, name: string): number {
	if (/^(0x[0-9a-f]+|[0-9]+)$/i.test(value)) return Number(value);
	throw new VfioError("invalid-argument", `Cannot use "${value}" for ${name}: it is a number, such as 16 or 0x10`);
}

/** What stands for a property's name. @throws VfioError `invalid-argument`, which lists the names that are known */
export function propertyOf<T>(known: Readonly<Record<string, T>>, name: string): T {
	const found = Object.hasOwn(known, name) ? known[name] : undefined;
	if (found !== undefined) return found;
	throw new VfioError("invalid-argument", `Cannot use property "${name}": known are ${Object.keys(known).join(", ")}`);
}
