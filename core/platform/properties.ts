/**
 * The options of an assigned platform device under the names that QEMU gives them, such as `x-no-mmap=on`.
 *
 * @module
 */
import { numberValue, propertyOf, switchValue } from "../property-values.ts";
import { checkPlatformOptions, type PlatformOptions } from "./options.ts";

const PROPERTIES: Readonly<Record<string, (value: string, name: string) => PlatformOptions>> = {
	"mmap-timeout-ms": (value, name) => ({ mmapTimeout: numberValue(value, name) }),
	"x-no-mmap": (value, name) => ({ mmap: !switchValue(value, name) }),
	"x-irqfd": (value, name) => ({ irqfd: switchValue(value, name) }),
};

/** The names that {@link platformOptions} takes. */
export const PLATFORM_PROPERTIES: readonly string[] = Object.keys(PROPERTIES);

/**
 * Makes options of properties.
 *
 * @example
 * ```ts
 * platformOptions(new Map([["mmap-timeout-ms", "0"], ["x-no-mmap", "on"]])); // { mmapTimeout: 0, mmap: false }
 * ```
 * @throws VfioError `invalid-argument` for an unknown name, or a value that is none for it
 */
export function platformOptions(properties: ReadonlyMap<string, string>): PlatformOptions {
	let options: PlatformOptions = {};
	for (const [name, value] of properties) {
		options = { ...options, ...propertyOf(PROPERTIES, name)(value, name) };
	}
	checkPlatformOptions(options);
	return options;
}
