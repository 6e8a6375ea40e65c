/**
 * Whether the BARs of a function fit into the windows that a guest gave to a port.
 *
 * @module
 */
import { formatBytes } from "../format-bytes.ts";
import type { AddressRange } from "./address-space.ts";
import type { GuestBar } from "./machine.ts";

/** The memory windows of a bridge, as the guest programmed them; empty while it has not. */
export interface BridgeWindows {
	/** Below 4 GiB, for everything. */
	readonly memory: AddressRange;
	/** Anywhere, for what is prefetchable. */
	readonly prefetchable: AddressRange;
}

const FOUR_GIB = 2 ** 32;

/**
 * Places the memory BARs in their windows as a guest would: the largest first, each at a multiple of its size, 64-bit
 * prefetchable ones in the prefetchable window while it has room. I/O BARs do not count: a PCI Express device works without
 * (PCI Express Base, section 2.1.1.2).
 *
 * @returns what does not fit, a part of a sentence; undefined when everything does, and also when no window has been
 *   programmed at all: such a guest makes them when it sees what was plugged in
 * @example
 * ```ts
 * const windows = { memory: { start: 0xe000_0000, end: 0xf000_0000 }, prefetchable: { start: 0, end: 0 } };
 * const bar = { index: 2, kind: "mem64", size: 2 ** 34, prefetchable: true } as const;
 * missingRoom([bar], windows); // "BAR 2 needs 16 GiB at a multiple of that, and the largest free window has 256 MiB"
 * ```
 */
export function missingRoom(bars: readonly GuestBar[], windows: BridgeWindows): string | undefined {
	const { memory, prefetchable } = windows;
	const room = { memory: { ...memory }, prefetchable: { ...prefetchable } };
	if (size(memory) <= 0 && size(prefetchable) <= 0) return undefined;
	const wanted = bars.filter(({ kind, index }) => kind !== "io" && index < 6).toSorted((a, b) => b.size - a.size);
	for (const bar of wanted) {
		const candidates = [room.prefetchable, room.memory].filter((window) => fits(bar, window, window === room.memory));
		const window = candidates[0];
		if (window === undefined) {
			const largest = Math.max(size(room.memory), bar.prefetchable ? size(room.prefetchable) : 0, 0);
			const [needs, has] = [formatBytes(BigInt(bar.size)), formatBytes(BigInt(largest))];
			return `BAR ${bar.index} needs ${needs} at a multiple of that, and the largest free window has ${has}`;
		}
		window.start = alignUp(window.start, bar.size) + bar.size;
	}
	return undefined;
}

type Room = { -readonly [K in keyof AddressRange]: AddressRange[K] };

function fits(bar: GuestBar, window: Room, anything: boolean): boolean {
	if (!anything && !bar.prefetchable) return false;
	const start = alignUp(window.start, bar.size);
	const end = start + bar.size;
	// Address 0 means that a BAR is nowhere.
	return start > 0 && end <= window.end && (bar.kind === "mem64" || end <= FOUR_GIB);
}

function size(range: AddressRange): number {
	return range.end - range.start;
}

function alignUp(address: number, unit: number): number {
	return Math.ceil(address / unit) * unit;
}
