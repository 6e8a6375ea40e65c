import { describe, expect, it } from "vitest";
import { groupAt, locate } from "../../../core/host/location.ts";
import { vfioError } from "../support/error.ts";
import { FakeHost } from "../support/fake-host.ts";

describe("locate()", () => {
	it("Y-01 sysfsdev goes before host, which only names the usual directory", () => {
		expect(locate({ host: "05:00.0" })).toEqual({
			name: "0000:05:00.0",
			path: "/sys/bus/pci/devices/0000:05:00.0",
			bus: "pci",
		});
		expect(locate({ host: "05:00.0", sysfsdev: "/sys/devices/x/y/" })).toEqual({
			name: "y",
			path: "/sys/devices/x/y",
			bus: undefined,
		});
	});

	it("Y-02 sysfsdev goes before a platform device's name, which is no path and not empty", () => {
		expect(locate({ platform: "fff51000.ethernet" }).path).toBe("/sys/bus/platform/devices/fff51000.ethernet");
		expect(locate({ platform: "a/b", sysfsdev: "/sys/devices/x" }).name).toBe("x");
		for (const platform of ["", "a/b", ".", ".."])
			expect(vfioError(() => locate({ platform })).code).toBe("invalid-argument");
	});

	it("says that nothing names a device, and what is no path", () => {
		expect(vfioError(() => locate({})).message).toContain("neither host, platform nor sysfsdev");
		for (const sysfsdev of ["", "/", "devices/x", "/sys/.."])
			expect(vfioError(() => locate({ sysfsdev })).message).toContain("no path of a device");
	});
});

describe("groupAt()", () => {
	it("Y-04 follows iommu_group from whatever path was given", () => {
		const { kernel } = new FakeHost([{ name: "0000:01:00.0", group: 7 }]);
		expect(groupAt(kernel, locate({ sysfsdev: "/sys/bus/pci/devices/0000:01:00.0" }))).toBe(7);
	});

	it("tells a device that is not there from one without a group", () => {
		const { kernel } = new FakeHost([{ name: "0000:01:00.0" }]);
		const at = (name: string) => locate({ sysfsdev: `/sys/bus/pci/devices/${name}` });
		expect(vfioError(() => groupAt(kernel, at("0000:01:00.7"))).code).toBe("no-such-device");
		expect(vfioError(() => groupAt(kernel, at("0000:01:00.0"))).code).toBe("no-iommu-group");
	});

	it("Y-06 refuses a link that ends in no group's number", () => {
		const { kernel } = new FakeHost([{ name: "0000:01:00.0", group: 7 }]);
		const odd = Object.create(kernel, { readLink: { value: () => "../../kernel/iommu_groups/" } });
		const location = locate({ sysfsdev: "/sys/bus/pci/devices/0000:01:00.0" });
		expect(vfioError(() => groupAt(odd, location)).message).toContain("no group's number");
	});
});
