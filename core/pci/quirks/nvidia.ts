/**
 * NVIDIA's graphics: configuration space is repeated in BAR 0, and there are two ways to that copy which code for legacy
 * VGA takes: a window in I/O BAR 5, and a state machine behind ports of VGA's.
 *
 * Drivers acknowledge each MSI by a write to the capability's id in the copy, which has to reach the device.
 *
 * @module
 */
import { NVIDIA } from "../added-capability.ts";
import { NVIDIA_PORTS } from "./legacy-ports.ts";
import { configMirror } from "./mirror.ts";
import type { DeviceQuirk, QuirkPlace } from "./quirk.ts";
import { configWindow } from "./window.ts";

/** Where the copies are in BAR 0: of 256 bytes, for legacy code, and of all of it. */
const LEGACY_COPY = 0x1800;
const COPY = 0x88000;
const LEGACY_SIZE = 256;
const DISPLAY = 0x03;
/** Bytes of a capability that an acknowledgement writes: the id and the pointer. */
const ACKNOWLEDGED = 2;

/** The quirk of 10de:*, for display controllers. */
export const geforce: DeviceQuirk = {
	name: "NVIDIA ways to configuration space",
	matches: (vendor) => vendor === NVIDIA,
	places: (bars, { classCode, configSize, msi, vga }) => {
		if (classCode >> 16 !== DISPLAY) return [];
		const passed = msi === undefined ? [] : [{ start: msi, end: msi + ACKNOWLEDGED }];
		const registers = bars.find(({ index, kind }) => index === 0 && kind !== "io");
		const copy = (start: number, size: number): QuirkPlace[] =>
			registers && registers.size >= start + size ? [configMirror({ bar: 0, start, size, passed })] : [];
		const places = copy(COPY, configSize);
		if (!vga) return places;
		places.push(...copy(LEGACY_COPY, LEGACY_SIZE), NVIDIA_PORTS);
		if (bars.some(({ index, kind, size }) => index === 5 && kind === "io" && size >= 0x10))
			places.push(window(configSize));
		return places;
	},
};

/** Both switches have to be on in bit 0. */
function window(configSize: number): QuirkPlace {
	return configWindow({
		bar: 5,
		switches: [0x0, 0x4],
		address: 0x8,
		data: 0xc,
		matches: [
			{ value: LEGACY_COPY, mask: LEGACY_SIZE - 1 },
			{ value: COPY, mask: configSize - 1 },
		],
	});
}
