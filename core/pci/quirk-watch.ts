/**
 * Puts a device's quirks into its BARs.
 *
 * @module
 */
import type { Bar } from "./bar.ts";
import { allOnes } from "./bytes.ts";
import type { AssignableDevice } from "./hardware.ts";
import type { Msix } from "./msix.ts";
import type { BarQuirk, QuirkHost, QuirkPlace } from "./quirks/quirk.ts";

/** What quirks need of their function. */
export interface QuirkConfig {
	/** A BAR was reached through the kernel: INTx takes it for the end of an interrupt. */
	endOfInterrupt(): void;
	/** Configuration space as the guest sees it. */
	configRead: QuirkHost["configRead"];
	configWrite: QuirkHost["configWrite"];
}

/**
 * Makes the quirks, and gives each BAR what is watched in it.
 *
 * @param bars by index
 * @param msix what the guest has of MSI-X
 */
export function watchQuirks(
	places: readonly QuirkPlace[],
	bars: readonly (Bar | undefined)[],
	device: AssignableDevice,
	msix: Msix | undefined,
	config: QuirkConfig,
): BarQuirk[] {
	// A quirk watches registers. Where a device has its MSI-X table in the same bytes, that stays out of reach.
	const reachable = (index: number, offset: number, width: number) => {
		const bar = bars[index];
		return (
			bar !== undefined && !bar.inTable(offset, width) && !bar.inHidden(offset, width) && bar.inRegion(offset, width)
		);
	};
	const host: QuirkHost = {
		read: (index, offset, width) => {
			const value = reachable(index, offset, width) ? device.readRegion(index, offset, width) : allOnes(width);
			config.endOfInterrupt();
			return value;
		},
		write: (index, offset, width, value) => {
			if (reachable(index, offset, width)) device.writeRegion(index, offset, width, value);
			config.endOfInterrupt();
		},
		configRead: config.configRead,
		configWrite: config.configWrite,
		tableRead: (offset) => msix?.table.read(offset, 4) ?? allOnes(4),
		tableWrite: (offset, value) => msix?.writeTable(offset, 4, value),
	};
	return places.map((place) => {
		const quirk = place.create(host);
		for (const stretch of place.stretches) {
			const bar = bars[stretch.bar];
			if (bar) bar.watched = [...bar.watched, { ...stretch, quirk }].sort((a, b) => a.start - b.start);
		}
		return quirk;
	});
}
