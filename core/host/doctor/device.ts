/**
 * The device itself: does it answer, can it be reset, what does it decode.
 *
 * @module
 */

import { formatBytes } from "../../format-bytes.ts";
import type { PciSysfs } from "../sysfs.ts";
import { type Check, type DeviceSubject, evidence, namesIn } from "./check.ts";

/** A function that is off or gone reads all ones, its header type included. @throws VfioError `kernel` */
export function answers(pci: PciSysfs, name: string): boolean {
	const [low, high] = pci.config(name);
	return low !== 0xff || high !== 0xff;
}

/** What it is, and whether it answers. */
export const IDENTITY: Check<DeviceSubject> = {
	item: "device",
	examine({ pci, name }) {
		const { vendor, device, class: code } = pci.ids(name);
		const text = `${hex(vendor, 4)}:${hex(device, 4)}, class ${hex(code, 6)}`;
		if (answers(pci, name)) return { level: "ok", text };
		return {
			level: "problem",
			text: `${text}; it does not answer: every register reads all ones`,
			remedy: [
				`It may be off (D3cold) or gone: cat ${pci.path(name)}/power_state`,
				`echo 1 | sudo tee ${pci.path(name)}/remove`,
				"echo 1 | sudo tee /sys/bus/pci/rescan",
			],
		};
	},
};

/** How Linux can reset it between two users. */
export const RESET: Check<DeviceSubject> = {
	item: "reset",
	examine({ kernel, pci, name }) {
		const path = pci.path(name);
		const files = namesIn(kernel, path) ?? [];
		const methods = (evidence(kernel, `${path}/reset_method`) ?? "").split(/\s+/).filter((method) => method !== "");
		const instead =
			pci.bridgesAbove(name).length === 0
				? "In a slot behind a port it would have a bus reset at least."
				: "A hot reset resets all functions of its bus at once, when all of them are assigned.";
		const siblings = pci.devices().filter((other) => other !== name && other.startsWith(busOf(name)));
		// Linux counts the siblings while it still looks for them, and again, rightly, when it resets.
		if (methods.join() === "bus" && siblings.length > 0)
			return {
				level: "warning",
				text: `By bus only, which fails, since ${siblings.join(", ")} would be reset along`,
				remedy: [instead],
			};
		if (methods.length > 0) return { level: "ok", text: `By ${methods.join(", then ")}` };
		if (files.includes("reset_method"))
			return {
				level: "warning",
				text: "Every method is switched off: what one user leaves in the device, the next one finds",
				remedy: [`echo default | sudo tee ${path}/reset_method`],
			};
		// Linux before 5.15 does not say how.
		if (files.includes("reset")) return { level: "ok", text: "Linux can, and does not say how" };
		return {
			level: "warning",
			text: "Linux has no way to reset it alone: what one user leaves in the device, the next one finds",
			remedy: [instead],
		};
	},
};

const BARS = 6;
const IORESOURCE_IO = 0x100n;
const IORESOURCE_PREFETCH = 0x2000n;
const IORESOURCE_MEM_64 = 0x100000n;
const IORESOURCE_UNSET = 0x20000000n;

/** What the guest will map. */
export const BARS_CHECK: Check<DeviceSubject> = {
	item: "BARs",
	examine({ pci, name }) {
		const bars = pci
			.resources(name)
			.slice(0, BARS)
			.flatMap((resource, index) => {
				const { start, end, flags } = resource;
				if (flags === 0n) return [];
				const size = formatBytes(end - start + 1n);
				const kind =
					(flags & IORESOURCE_IO) !== 0n
						? "I/O ports"
						: (flags & IORESOURCE_MEM_64) !== 0n
							? "64-bit memory"
							: "memory";
				const prefetchable = (flags & IORESOURCE_PREFETCH) !== 0n ? ", prefetchable" : "";
				return [{ index, text: `${index}: ${size} ${kind}${prefetchable}`, unset: (flags & IORESOURCE_UNSET) !== 0n }];
			});
		if (bars.length === 0) return { level: "warning", text: "None: a guest can reach its configuration space only" };
		const text = bars.map((bar) => bar.text).join("; ");
		const unset = bars.filter((bar) => bar.unset);
		if (unset.length === 0) return { level: "ok", text };
		return {
			level: "problem",
			text: `${text}; no address was left for ${unset.map(({ index }) => `BAR ${index}`).join(", ")}`,
			remedy: [
				'Switch "Above 4G Decoding" on in the firmware setup.',
				"Or add pci=realloc to the kernel's command line, and reboot.",
			],
		};
	},
};

/** `0000:05:` of `0000:05:00.0`. */
function busOf(name: string): string {
	return name.slice(0, -"00.0".length);
}

function hex(value: number, digits: number): string {
	return value.toString(16).padStart(digits, "0");
}
