/**
 * A part of a BAR that repeats configuration space: the guest gets its own configuration space there, too.
 *
 * @module
 */
import type { Stretch } from "../msix-areas.ts";
import type { QuirkPlace } from "./quirk.ts";

/** How a mirror is built. */
export interface ConfigMirror {
	/** 0 to 5. */
	readonly bar: number;
	/** Where byte 0 of configuration space is in the BAR. */
	readonly start: number;
	/** Bytes: 256 or 4096. */
	readonly size: number;
	/** Bytes of configuration space whose writes the device has to see as well. */
	readonly passed?: readonly Stretch[];
}

/** The quirk for a mirror. */
export function configMirror({ bar, start, size, passed = [] }: ConfigMirror): QuirkPlace {
	return {
		stretches: [{ bar, start, end: start + size }],
		create: (host) => ({
			read: (_bar, offset, width) => {
				// The device is read and not believed, since reading may do something there.
				host.read(bar, offset, width);
				return host.configRead(offset - start, width);
			},
			write: (_bar, offset, width, value) => {
				const at = offset - start;
				host.configWrite(at, width, value);
				if (passed.some((part) => at >= part.start && at + width <= part.end))
					host.passWrite(bar, offset, width, value);
			},
			reset: () => {},
		}),
	};
}
