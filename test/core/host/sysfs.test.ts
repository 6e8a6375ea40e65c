import { describe, expect, it } from "vitest";
import { assignableEndpoints } from "../../../core/host/doctor.ts";
import { groupMembers } from "../../../core/host/groups.ts";
import { PciSysfs, readText, unlessGone } from "../../../core/host/sysfs.ts";
import { EIO, ENODEV, ENOENT } from "../../../core/uapi/errno.ts";
import { vfioError } from "../support/error.ts";
import { FakeHost } from "../support/fake-host.ts";
import { FakeKernel } from "../support/fake-kernel.ts";

const host = () =>
	new FakeHost([
		{ name: "0000:05:00.0", group: 12, driver: "nvme", id: "144d a80a", class: 0x010802 },
		{ name: "0000:00:1c.0", group: 12, driver: "pcieport", bridge: true },
		{ name: "0000:06:00.0" },
	]);

describe("PciSysfs", () => {
	it("devices() lists the functions in address order", () => {
		expect(new PciSysfs(host().kernel).devices()).toEqual(["0000:00:1c.0", "0000:05:00.0", "0000:06:00.0"]);
	});
	it("devices() is empty on a host without PCI", () => {
		expect(new PciSysfs(new FakeKernel()).devices()).toEqual([]);
	});
	it("ids() reads the identification registers", () => {
		expect(new PciSysfs(host().kernel).ids("0000:05:00.0")).toEqual({
			vendor: 0x144d,
			device: 0xa80a,
			subsystemVendor: 0x1af4,
			subsystemDevice: 0x1100,
			revision: 1,
			class: 0x010802,
		});
	});
	it("driver() and group() follow the links, and are undefined without one", () => {
		const pci = new PciSysfs(host().kernel);
		expect([pci.driver("0000:05:00.0"), pci.group("0000:05:00.0")]).toEqual(["nvme", 12]);
		expect([pci.driver("0000:06:00.0"), pci.group("0000:06:00.0")]).toEqual([undefined, undefined]);
	});
	it("resources() reads the lines as they are, the last address included", () => {
		expect(new PciSysfs(host().kernel).resources("0000:05:00.0")).toEqual([
			{ start: 0xfe000000n, end: 0xfe003fffn, flags: 0x140204n },
			{ start: 0n, end: 0n, flags: 0n },
		]);
	});
	it.each([
		["vendor", "0x80zz", (pci: PciSysfs) => pci.ids("0000:05:00.0")],
		["class", "", (pci: PciSysfs) => pci.ids("0000:05:00.0")],
		["resource", "0xfe000000 0xfe00", (pci: PciSysfs) => pci.resources("0000:05:00.0")],
	])("makes no number of what is none in %s", (file, text, look) => {
		const { kernel } = host();
		kernel.files.set(`/sys/bus/pci/devices/0000:05:00.0/${file}`, `${text}\n`);
		const error = vfioError(() => look(new PciSysfs(kernel)));
		expect(error.message).toBe(`Cannot make sense of /sys/bus/pci/devices/0000:05:00.0/${file}: "${text}"`);
	});
	it("group() makes no number of a link that ends in none", () => {
		const { kernel } = host();
		kernel.links.set("/sys/bus/pci/devices/0000:05:00.0/iommu_group", "../noiommu");
		expect(vfioError(() => new PciSysfs(kernel).group("0000:05:00.0")).message).toContain('iommu_group: "noiommu"');
	});
	it("isBridge() goes by the header type", () => {
		const pci = new PciSysfs(host().kernel);
		expect([pci.isBridge("0000:00:1c.0"), pci.isBridge("0000:05:00.0")]).toEqual([true, false]);
	});
	it("driverOverride() tells none from a kernel without the file", () => {
		expect(new PciSysfs(host().kernel).driverOverride("0000:05:00.0")).toBe("");
		const old = new FakeHost([{ name: "0000:05:00.0" }], { driverOverride: false });
		expect(new PciSysfs(old.kernel).driverOverride("0000:05:00.0")).toBeUndefined();
	});
});

describe("unlessGone()", () => {
	it.each([ENOENT, ENODEV])(
		"is undefined for a device that answers errno %i, having gone since it was listed",
		(errno) => {
			const { kernel } = host();
			const path = "/sys/bus/pci/devices/0000:05:00.0/vendor";
			kernel.files.set(path, { read: () => kernel.fail(errno, "read", path) });
			const pci = new PciSysfs(kernel);
			expect(unlessGone(() => pci.ids("0000:05:00.0"))).toBeUndefined();
			expect(groupMembers(kernel, 12).map(({ name }) => name)).toEqual(["0000:00:1c.0"]);
			expect(assignableEndpoints(kernel)).toEqual(["0000:06:00.0"]);
		},
	);
	it("passes on every other failure", () => {
		const { kernel } = host();
		const path = "/sys/bus/pci/devices/0000:05:00.0/vendor";
		kernel.files.set(path, { read: () => kernel.fail(EIO, "read", path) });
		const pci = new PciSysfs(kernel);
		expect(vfioError(() => unlessGone(() => pci.ids("0000:05:00.0"))).errno).toBe(EIO);
	});
});

describe("readText()", () => {
	it("takes the newline off, and keeps bytes above 127", () => {
		const kernel = new FakeKernel();
		kernel.files.set("/f", Uint8Array.of(0x61, 0xe9, 0x0a));
		expect(readText(kernel, "/f")).toBe("aé");
	});
	it("says what could not be read, with the kernel's answer as its cause", () => {
		const kernel = new FakeKernel();
		kernel.files.set("/f", { read: () => kernel.fail(EIO, "read", "/f") });
		const error = vfioError(() => readText(kernel, "/f"));
		expect([error.code, error.errno]).toEqual(["kernel", EIO]);
	});
});
