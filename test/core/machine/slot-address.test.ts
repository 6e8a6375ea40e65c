import { describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import { formatSlotAddress, parseSlotAddress } from "../../../core/machine/mod.ts";

describe("parseSlotAddress()", () => {
	it.each([
		["5", 5, 0],
		["0x1f", 31, 0],
		["0X1F.7", 31, 7],
		["3.0x1", 3, 1],
		["010", 10, 0],
	])("reads %s", (text, device, fn) => {
		expect(parseSlotAddress(text)).toEqual({ device, function: fn });
	});

	it.each(["", ".", "32", "0x20", "5.8", "5.0.1", "5.", "-1", "5 ", "0x", "1e1", "f"])("refuses %j", (text) => {
		expect(() => parseSlotAddress(text)).toThrow(VfioError);
	});

	it("says how many parts are too many", () => {
		expect(() => parseSlotAddress("1.2.3")).toThrow(/it has 3 parts/);
	});
});

describe("formatSlotAddress()", () => {
	it("writes as lspci does", () => {
		expect(formatSlotAddress({ device: 31, function: 3 })).toBe("1f.3");
	});
});
