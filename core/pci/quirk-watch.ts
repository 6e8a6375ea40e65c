/**
 * Puts a device's quirks into its BARs.
 *
 * @module
 */
import { allOnes } from "../bytes.ts";
import type { AccessWidth } from "../kernel.ts";
import type { WatchedArea } from "./bar.ts";
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

/** What has registers that a quirk can watch over. */
export interface Watchable {
	/** In order. */
	watched: readonly WatchedArea[];
	/** Whether the device's own register may be reached by a quirk. */
	reaches(offset: number, width: number): boolean;
}

/** Learns of writes that only the device minds. */
export interface PassedWrites {
	written(bar: number, offset: number, width: AccessWidth, value: number): void;
}

/**
 * Makes the quirks, and gives each BAR what is watched in it.
 *
 * @param targets BARs by index, and legacy VGA at 8
 * @param msix what the guest has of MSI-X
 */
export function watchQuirks(
	places: readonly QuirkPlace[],
	targets: readonly (Watchable | undefined)[],
	device: AssignableDevice,
	msix: Msix | undefined,
	config: QuirkConfig,
	passed: PassedWrites,
): BarQuirk[] {
	const reachable = (index: number, offset: number, width: number) => targets[index]?.reaches(offset, width) ?? false;
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
		passWrite: (index, offset, width, value) => {
			host.write(index, offset, width, value);
			if (reachable(index, offset, width)) passed.written(index, offset, width, value);
		},
		configRead: config.configRead,
		configWrite: config.configWrite,
		tableRead: (offset) => msix?.table.read(offset, 4) ?? allOnes(4),
		tableWrite: (offset, value) => msix?.writeTable(offset, 4, value),
	};
	return places.map((place) => {
		const quirk = place.create(host);
		for (const stretch of place.stretches) {
			const target = targets[stretch.bar];
			if (target) target.watched = [...target.watched, { ...stretch, quirk }].sort((a, b) => a.start - b.start);
		}
		return quirk;
	});
}
