/**
 * Drivers that hold a platform device and do nothing with it.
 *
 * @module
 */
import type { PlatformDriver } from "./device.ts";

/** The drivers that Linux has for the devices modelled here, by what they are compatible with. */
const BUILT_IN: Readonly<Record<string, readonly string[]>> = {
	calxedaxgmac: ["calxeda,hb-xgmac"],
	"amd-xgbe": ["amd,xgbe-seattle-v1a"],
};

/** A driver of the host. @param compatible what it takes, beyond what Linux's driver of that name does */
export function nativePlatformDriver(name: string, compatible: readonly string[] = []): PlatformDriver {
	return {
		name,
		managesDma: false,
		compatible: [...(BUILT_IN[name] ?? []), ...compatible],
		probe: () => 0,
		remove: () => 0,
	};
}

/** Drivers every Linux here has. */
export function builtInPlatformDrivers(): PlatformDriver[] {
	return Object.keys(BUILT_IN).map((name) => nativePlatformDriver(name));
}
