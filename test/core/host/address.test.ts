import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { comparePciAddresses, formatPciAddress, parsePciAddress } from "../../../core/host/address.ts";
import { vfioError } from "../support/error.ts";

describe("parsePciAddress()", () => {
	it("reads the full form", () => {
		expect(parsePciAddress("0001:a5:1f.7")).toEqual({ domain: 1, bus: 0xa5, device: 0x1f, function: 7 });
	});
	it("F-02 takes domain 0 when none is given", () => {
		expect(formatPciAddress(parsePciAddress("05:00.0"))).toBe("0000:05:00.0");
	});
	it("ERR-12 takes the wide domains that Linux makes up", () => {
		expect(formatPciAddress(parsePciAddress("10000:01:00.0"))).toBe("10000:01:00.0");
	});
	it.each(["", "05:00", "05:00.8", "05:20.0", "g5:00.0", "0000:05:00.0.1", "0000-05-00.0", "100:00.0"])(
		"refuses %j, echoes it and shows the form",
		(text) => {
			const error = vfioError(() => parsePciAddress(text));
			expect(error.code).toBe("malformed-address");
			expect(error.message).toContain(`"${text}"`);
			expect(error.remedy.join(" ")).toContain("0000:05:00.0");
		},
	);
	it("is the inverse of formatPciAddress()", () => {
		const address = fc.record({
			domain: fc.integer({ min: 0, max: 0xffff }),
			bus: fc.integer({ min: 0, max: 0xff }),
			device: fc.integer({ min: 0, max: 0x1f }),
			function: fc.integer({ min: 0, max: 7 }),
		});
		fc.assert(
			fc.property(address, (one) => {
				expect(parsePciAddress(formatPciAddress(one))).toEqual(one);
			}),
		);
	});
});

describe("comparePciAddresses()", () => {
	it("orders as sysfs does", () => {
		const names = ["0001:00:00.0", "0000:10:00.0", "0000:05:01.0", "0000:05:00.1", "0000:05:00.0"];
		const sorted = names.map(parsePciAddress).sort(comparePciAddresses).map(formatPciAddress);
		expect(sorted).toEqual([...names].reverse());
	});
});
