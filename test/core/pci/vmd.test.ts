import { describe, expect, it } from "vitest";
import { assign } from "../support/assigned.ts";
import { load, store } from "../support/fake-vfio-device.ts";
import { type ConfigOptions, configSpace, msixBody } from "../support/pci-config.ts";

const SHADOW = 0xe8;

/** A function whose BARs 2 and 4 have 64 bits, and addresses above 4 GiB in the host. */
function volumeManagement(id: number, capabilities: ConfigOptions["capabilities"] = []) {
	const config = configSpace({
		bars: [0xf400000c, 0x60, 0xf000000c, 0x61, 0xf200000c, 0x62],
		capabilities: [[0x40, 0x11, msixBody(4, [0, 0], [0, 0x1000])], ...capabilities],
	});
	store(config, 0, 4, id);
	const regions = { 0: { size: 0x10000 }, 2: { size: 0x100000 }, 4: { size: 0x100000 } };
	return assign({ config, regions, vectors: 4, irqs: [0, 0, 4, 1, 1] });
}

describe("Intel's VMD", () => {
	it.each([0x201d8086, 0x467f8086, 0x4c3d8086, 0x9a0b8086])(
		"%i finds in a capability where its BARs are in the host",
		(id) => {
			const { fn } = volumeManagement(id);
			const bytes = Uint8Array.from({ length: 24 }, (_, at) => fn.configRead(SHADOW + at, 1));
			expect([...bytes.subarray(0, 4)]).toEqual([0x09, 0, 24, 1]);
			expect([4, 8, 12, 16, 20].map((at) => load(bytes, at, 4))).toEqual([
				0x53484457, 0xf0000000, 0x61, 0xf2000000, 0x62,
			]);
			expect(fn.plan.guest.capabilities.at(-1)).toEqual({ id: 9, offset: SHADOW });
			// What the guest places, and writes there, changes nothing.
			fn.configWrite(0x18, 4, 0xc0000000);
			fn.configWrite(SHADOW + 8, 4, 0);
			expect(fn.configRead(SHADOW + 8, 4)).toBe(0xf0000000);
		},
	);

	it("is the only device that has it", () => {
		for (const id of [0x10c98086, 0x201d10de]) {
			const { fn } = volumeManagement(id);
			expect(fn.plan.guest.capabilities.map(({ offset }) => offset)).toEqual([0x40]);
		}
	});

	it("is not assigned when something is in the place", () => {
		expect(() => volumeManagement(0x201d8086, [[0xf0, 9, [8, 0, 0, 0, 0, 0]]])).toThrow(
			"Cannot assign 0000:05:00.0: the VMD shadow capability has no place: 0xe8 is taken",
		);
	});
});
