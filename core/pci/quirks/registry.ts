/**
 * Which devices have quirks.
 *
 * @module
 */
import { ati } from "./ati.ts";
import { geforce } from "./nvidia.ts";
import type { DeviceQuirk } from "./quirk.ts";
import { rtl8168 } from "./rtl8168.ts";

/** Those that are known here. `AssignOptions.quirks` takes others in their place. */
export const QUIRKS: readonly DeviceQuirk[] = [rtl8168, ati, geforce];

/** The quirks of a device. @param vendor and device as the hardware has them, whatever the guest is shown */
export function quirksOf(quirks: readonly DeviceQuirk[], vendor: number, device: number): DeviceQuirk[] {
	return quirks.filter((quirk) => quirk.matches(vendor, device));
}
