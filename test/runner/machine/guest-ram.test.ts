import { describe, expect, it } from "vitest";
import type { GuestMemoryRegion } from "../../../core/machine/mod.ts";
import { GuestRam } from "../../../runner/machine/guest-ram.ts";
import { AdoptingKernel } from "./adopting-kernel.ts";

function ram(size: number) {
	const kernel = new AdoptingKernel();
	return { kernel, ram: new GuestRam(kernel.adopt(new Uint8Array(size))) };
}

describe("GuestRam", () => {
	it("subscribe() tells of the RAM on both sides of the graphics card's frame buffer, in address order", () => {
		const regions: GuestMemoryRegion[] = [];
		ram(16 << 20).ram.subscribe({ added: (region) => void regions.push(region), removed: () => {} });
		expect(regions.map(({ guestAddress, length, offset }) => [guestAddress, length, offset])).toEqual([
			[0n, 0xa0000, 0],
			[0xc0000n, (16 << 20) - 0xc0000, 0xc0000],
		]);
		expect(regions.every((region) => region.kind === "ram" && !region.readOnly)).toBe(true);
	});

	it("dispose takes the regions away from who listens, and gives the memory back", () => {
		const { kernel, ram: guestRam } = ram(1 << 20);
		const removed: bigint[] = [];
		const listener = {
			added: () => {},
			removed: (region: GuestMemoryRegion) => void removed.push(region.guestAddress),
		};
		guestRam.subscribe(listener);
		guestRam.subscribe({ added: () => {}, removed: () => expect.unreachable() })[Symbol.dispose]();
		guestRam[Symbol.dispose]();
		expect(removed).toEqual([0xc0000n, 0n]);
		expect(kernel.disposed).toBe(1);
	});
});
