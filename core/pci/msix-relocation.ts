/**
 * Moving the guest's MSI-X table and pending bits out of the page that they share with registers of the device, so that
 * those can be mapped. Only the guest's view moves: the device's own table stays where it is, and what is mapped of the
 * device is decided from there.
 *
 * @module
 */
import { alignUp, hex, powerOfTwoCeiling } from "../bytes.ts";
import type { GuestBar } from "../machine/machine.ts";
import { type MsixCapability, msixPbaSize, msixTableSize } from "./msix-capability.ts";

const CHOICES = ["off", "auto", "bar0", "bar1", "bar2", "bar3", "bar4", "bar5"] as const;

/** Where to: `off` leaves it, `auto` looks for the BAR that costs the least, the others name one. */
export type MsixRelocation = (typeof CHOICES)[number];

/** What an option may be, for a sentence. */
export const RELOCATION_CHOICES = CHOICES.map((choice) => `"${choice}"`).join(", ");

/** Whether the word is one of them. */
export function isMsixRelocation(word: unknown): word is MsixRelocation {
	return (CHOICES as readonly unknown[]).includes(word);
}

/** The guest's MSI-X and BARs after the move. */
export interface RelocatedMsix {
	readonly capability: MsixCapability;
	readonly bars: readonly GuestBar[];
}

/** A 32-bit BAR of more cannot be doubled: half of the address space would be gone. */
const LARGEST_32_BIT = 0x4000_0000;

/**
 * Plans the move: to the upper half of a BAR that grows for it, or to a BAR that the device does not have.
 *
 * @param capability the device's
 * @param pageSize bytes, the host's
 * @returns a sentence that says why not, when it cannot be
 * @example
 * ```ts
 * // 129 vectors at 0x5200 of a BAR of 64 KiB
 * const moved = relocateMsix("bar0", capability, bars, 4096);
 * if (typeof moved === "string") throw new Error(moved);
 * moved.capability.table; // { bar: 0, offset: 0x10000 }
 * moved.capability.pba; // { bar: 0, offset: 0x10810 }
 * moved.bars[0]?.size; // 0x20000
 * ```
 */
export function relocateMsix(
	choice: Exclude<MsixRelocation, "off">,
	capability: MsixCapability,
	bars: readonly GuestBar[],
	pageSize: number,
): RelocatedMsix | string {
	const tableSize = msixTableSize(capability.vectors);
	const needed = powerOfTwoCeiling(alignUp(tableSize + msixPbaSize(capability.vectors), pageSize));
	const index = choice === "auto" ? cheapest(bars) : Number(choice.slice(3));
	if (index === undefined) return "no BAR can hold the MSI-X table";
	const obstacle = whyNot(index, bars);
	if (obstacle !== undefined) return `the MSI-X table cannot go to BAR ${index}: ${obstacle}`;
	const present = bars.find((bar) => bar.index === index);
	const bar = present ? { ...present, size: 2 * Math.max(present.size, needed) } : newBar(index, needed, bars);
	const offset = present ? bar.size / 2 : 0;
	return {
		capability: {
			...capability,
			table: { bar: index, offset },
			pba: { bar: index, offset: offset + tableSize },
		},
		bars: [...bars.filter((other) => other.index !== index), bar].sort((a, b) => a.index - b.index),
	};
}

function newBar(index: number, size: number, bars: readonly GuestBar[]): GuestBar {
	const wide = index < 5 && !bars.some((bar) => bar.index === index + 1);
	return { index, kind: wide ? "mem64" : "mem32", size, prefetchable: true };
}

function whyNot(index: number, bars: readonly GuestBar[]): string | undefined {
	if (bars.some((bar) => bar.kind === "mem64" && bar.index === index - 1))
		return `it is the upper half of BAR ${index - 1}`;
	const bar = bars.find((candidate) => candidate.index === index);
	if (bar?.kind === "io") return "it has I/O ports";
	if (bar?.kind === "mem32" && bar.size > LARGEST_32_BIT) return `it has 32 bits and ${hex(bar.size)} bytes already`;
	return undefined;
}

/** A BAR that does not exist costs nothing; otherwise the smallest one is the cheapest to double. */
function cheapest(bars: readonly GuestBar[]): number | undefined {
	const possible = [0, 1, 2, 3, 4, 5].filter((index) => whyNot(index, bars) === undefined);
	const size = (index: number) => bars.find((bar) => bar.index === index)?.size ?? 0;
	return possible.sort((a, b) => size(a) - size(b) || a - b)[0];
}
