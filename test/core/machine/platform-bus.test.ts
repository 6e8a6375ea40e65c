import { describe, expect, it } from "vitest";
import { type GuestPlatformDevice, PlatformBus } from "../../../core/mod.ts";
import { vfioError } from "../support/error.ts";

/** A device that says which access it got. */
function device(name: string, sizes: readonly number[], interrupts = 0): GuestPlatformDevice & { calls: string[] } {
	const calls: string[] = [];
	return {
		name,
		calls,
		regions: sizes.map((size, index) => ({ index, size, readOnly: false })),
		interrupts: Array.from({ length: interrupts }, (_, index) => ({ index, trigger: "level" })),
		plug: () => void calls.push("plug"),
		connectLine: (index, line) => {
			calls.push(`connect ${index}`);
			line.set(true);
		},
		disconnectLine: () => {},
		unplug: () => void calls.push("unplug"),
		read: (region, offset, width) => region * 0x1000 + offset + width,
		read64: (region, offset) => BigInt(region * 0x1000 + offset),
		write: (region, offset, width, value) => void calls.push(`w${width} ${region}:${offset}=${value}`),
		write64: (region, offset, value) => void calls.push(`w8 ${region}:${offset}=${value}`),
		directAreas: () => [],
		reset: () => {},
		[Symbol.dispose]: () => {},
	};
}

function bus(size = 0x10000n, count = 4) {
	const lines: number[] = [];
	const made = new PlatformBus({
		base: 0xc000000n,
		size,
		interrupts: { first: 32, count },
		setLine: (interrupt, asserted) => void (asserted && lines.push(interrupt)),
	});
	return { lines, made };
}

describe("PlatformBus", () => {
	it("gives each region its pages, and each interrupt its number, and decodes", () => {
		const { made, lines } = bus();
		const first = device("a", [0x1000, 0x60, 4], 2);
		const second = device("b", [0x2000], 1);
		expect(made.plug(first)).toEqual({ regions: [0xc000000n, 0xc001000n, 0xc002000n], interrupts: [32, 33] });
		expect(made.plug(second)).toEqual({ regions: [0xc003000n], interrupts: [34] });
		expect([first.calls, lines]).toEqual([
			["plug", "connect 0", "connect 1"],
			[32, 33, 34],
		]);
		expect([made.read(0xc001010, 4), made.read64(0xc001010), made.read(0xc004ffc, 4)]).toEqual([
			0x1014,
			0x1010n,
			0x2000,
		]);
		made.write(0xc002000, 4, 7);
		made.write64(0xc000008, 9n);
		expect(first.calls.slice(3)).toEqual(["w4 2:0=7", "w8 0:8=9"]);
		// Behind a region that is smaller than its page, and across its end, there is nothing.
		expect([made.read(0xc001060, 4), made.read(0xc00105e, 4), made.read64(0xbffffff)]).toEqual([
			...[0xffffffff, 0xffffffff, 2n ** 64n - 1n],
		]);
		made.write(0xc005000, 1, 1);
		made.write64(0xc005000, 1n);
	});

	it("gives what a device had to the next one", () => {
		const { made } = bus(0x3000n, 1);
		const first = device("a", [0x2000], 1);
		made.plug(first);
		made.unplug(first);
		expect([first.calls.at(-1), made.devices.size, made.read(0xc000000, 1)]).toEqual(["unplug", 0, 0xff]);
		expect(made.plug(device("b", [0x3000], 1)).interrupts).toEqual([32]);
	});

	it("refuses what there is no room for, and is as it was then", () => {
		const { made } = bus(0x3000n, 1);
		expect(vfioError(() => made.plug(device("a", [0x1000, 0x3000]))).message).toMatch(
			/region 1 of 12288 bytes does not fit/,
		);
		expect(vfioError(() => made.plug(device("a", [0x1000], 2))).message).toMatch(/it has 2 interrupts, and 1 are left/);
		const failing = {
			...device("a", [0x1000], 1),
			connectLine: () => {
				throw new Error("no eventfd");
			},
		};
		expect(() => made.plug(failing)).toThrow("no eventfd");
		expect(failing.calls).toEqual(["plug", "unplug"]);
		const fits = device("b", [0x3000], 1);
		made.plug(fits);
		expect(vfioError(() => made.plug(fits)).message).toMatch(/it is on the bus already/);
		expect(vfioError(() => made.unplug(device("c", []))).message).toMatch(/it is not on the bus/);
	});

	it("leaves a device alone that does not let itself be plugged in, since another bus may have it", () => {
		const { made } = bus(0x3000n, 1);
		const elsewhere = device("a", [0x1000], 1);
		const refusing = {
			...elsewhere,
			plug: () => {
				throw new Error("it is plugged in already");
			},
		};
		expect(() => made.plug(refusing)).toThrow("it is plugged in already");
		expect(elsewhere.calls).toEqual([]);
		expect(made.plug(device("b", [0x3000], 1)).regions).toEqual([0xc000000n]);
	});

	it("a region without bytes hides no other", () => {
		const { made } = bus();
		made.plug(device("a", [0x1000]));
		const { regions } = made.plug(device("b", [0, 0x1000]));
		made.plug(device("c", [0]));
		expect(regions[1]).not.toBe(regions[0]);
		expect([made.read(0xc000010, 4), made.read(Number(regions[1]) + 0x10, 4)]).toEqual([0x14, 0x1014]);
	});
});
