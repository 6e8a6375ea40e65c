/**
 * ATI's and AMD's graphics: two ways to configuration space that only code for legacy VGA takes. I/O BAR 4 has a window,
 * and 64-bit BAR 2 repeats the space behind 0x4000.
 *
 * @module
 */
import { ATI_PORTS } from "./legacy-ports.ts";
import { configMirror } from "./mirror.ts";
import type { DeviceQuirk } from "./quirk.ts";
import { configWindow } from "./window.ts";

const ATI = 0x1002;
/** Where configuration space begins, in the window and in the mirror. */
const START = 0x4000;
const SIZE = 256;

/** The quirk of 1002:*, for a function that has legacy VGA. */
export const ati: DeviceQuirk = {
	name: "ATI ways to configuration space",
	matches: (vendor) => vendor === ATI,
	places: (bars, device) => {
		if (!device.vga) return [];
		const ports = bars.find(({ index, kind }) => index === 4 && kind === "io");
		const registers = bars.find(({ index, kind, size }) => index === 2 && kind === "mem64" && size >= START + SIZE);
		const matches = [{ value: START, mask: device.configSize - 1 }];
		return [
			...(ports ? [configWindow({ bar: 4, address: 0, data: 4, matches }), ATI_PORTS] : []),
			...(registers ? [configMirror({ bar: 2, start: START, size: SIZE })] : []),
		];
	},
};
