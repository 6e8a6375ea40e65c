import { describe, expect, it } from "vitest";
import { PLATFORM_PROPERTIES, platformOptions } from "../../../core/platform/properties.ts";
import { vfioError } from "../support/error.ts";

describe("platformOptions()", () => {
	it("makes options of QEMU's properties", () => {
		const properties = new Map(PLATFORM_PROPERTIES.map((name) => [name, "0"]));
		expect(platformOptions(properties)).toEqual({ mmapTimeout: 0, mmap: true, irqfd: false });
	});

	it.each([
		["x-nonsense", "1", "known are mmap-timeout-ms, x-no-mmap, x-irqfd"],
		["toString", "1", "known are"],
		["x-no-mmap", "perhaps", 'it is "on" or "off"'],
		["mmap-timeout-ms", "-1", "it is a number"],
		["mmap-timeout-ms", "2147483648", "0 to 2147483647"],
	])("refuses %s=%s", (name, value, text) => {
		const error = vfioError(() => platformOptions(new Map([[name, value]])));
		expect([error.code, error.message.includes(text)]).toEqual(["invalid-argument", true]);
	});
});
