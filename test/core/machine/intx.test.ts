import { describe, expect, it } from "vitest";
import { swizzle } from "../../../core/machine/mod.ts";

describe("swizzle()", () => {
	it.each([
		[1, 0, 1],
		[1, 1, 2],
		[4, 1, 1],
		[2, 31, 1],
		[3, 6, 1],
	])("turns pin %i of device %i into pin %i", (pin, device, above) => {
		expect(swizzle(pin, device)).toBe(above);
	});
});
