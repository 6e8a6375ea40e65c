import { describe, expect, it } from "vitest";
import { KernelError } from "../../../core/errors.ts";
import { groupMembers, groupOf } from "../../../core/host/groups.ts";
import { explainNotViable, inTheWay, leavesDmaAlone, requireViable } from "../../../core/host/viability.ts";
import { EPERM } from "../../../core/uapi/errno.ts";
import { vfioError } from "../support/error.ts";
import { FakeHost } from "../support/fake-host.ts";

const gpu = () =>
	new FakeHost([
		{ name: "0000:00:01.0", group: 1, driver: "pcieport", bridge: true },
		{ name: "0000:01:00.0", group: 1, driver: "vfio-pci", id: "10de 1b80", class: 0x030000 },
		{ name: "0000:01:00.1", group: 1, driver: "snd_hda_intel", id: "10de 10f0", class: 0x040300 },
		{ name: "0000:01:00.2", group: 1, driver: "xhci_hcd", id: "10de 1ad8", class: 0x0c0330 },
		{ name: "0000:01:00.3", group: 1, id: "10de 1ad9", class: 0x0c8000 },
	]);

describe("groupOf()", () => {
	it("finds the group of a short address", () => {
		expect(groupOf(gpu().kernel, "01:00.0")).toBe(1);
	});
	it("suggests the nearest address when there is no such function", () => {
		const error = vfioError(() => groupOf(gpu().kernel, "01:00.7"));
		expect([error.code, error.device]).toEqual(["no-such-device", "0000:01:00.7"]);
		expect(error.remedy[0]).toContain("0000:01:00.0");
	});
	it("says so when the host has no PCI at all", () => {
		expect(vfioError(() => groupOf(new FakeHost([]).kernel, "01:00.0")).remedy[0]).toContain("no PCI function at all");
	});
	it("says what to enable when the host has no IOMMU groups", () => {
		const error = vfioError(() => groupOf(new FakeHost([{ name: "0000:01:00.0" }]).kernel, "01:00.0"));
		expect(error.code).toBe("no-iommu-group");
		expect(error.remedy.join(" ")).toMatch(/VT-d.*AMD-Vi.*intel_iommu=on/);
	});
	it("does not blame a disabled IOMMU when other functions have groups", () => {
		const host = new FakeHost([{ name: "0000:01:00.0" }, { name: "0000:02:00.0", group: 4 }]);
		expect(vfioError(() => groupOf(host.kernel, "01:00.0")).message).toContain("it is in no IOMMU group");
	});
});

describe("groupMembers()", () => {
	it("knows each device's driver, kind and ids", () => {
		expect(groupMembers(gpu().kernel, 1).slice(0, 2)).toEqual([
			{ name: "0000:00:01.0", driver: "pcieport", bridge: true, override: "", id: "8086 1521", class: 0x060400 },
			{ name: "0000:01:00.0", driver: "vfio-pci", bridge: false, override: "", id: "10de 1b80", class: 0x030000 },
		]);
	});
	it("takes members that are no PCI functions", () => {
		const host = new FakeHost([{ name: "0000:01:00.0", group: 1 }]);
		host.kernel.links.set("/sys/kernel/iommu_groups/1/devices/fff51000.ethernet", "x");
		expect(groupMembers(host.kernel, 1)[1]).toMatchObject({ name: "fff51000.ethernet", id: "" });
	});
});

describe("viability", () => {
	it("inTheWay() leaves out VFIO drivers, ports and devices without a driver", () => {
		expect(inTheWay(groupMembers(gpu().kernel, 1)).map(({ name }) => name)).toEqual(["0000:01:00.1", "0000:01:00.2"]);
	});
	it.each([
		["vfio-pci", true],
		["mlx5_vfio_pci", true],
		["hisi-acc-vfio-pci", true],
		["pci-stub", true],
		["pcieport", true],
		["nvme", false],
		["vfio-pci-nvme", false],
	])("leavesDmaAlone(%s) is %s", (driver, alone) => {
		expect(leavesDmaAlone(driver)).toBe(alone);
	});
	it("requireViable() names each device in the way, its driver, and the commands", () => {
		const error = vfioError(() => requireViable(gpu().kernel, 1, "0000:01:00.0"));
		expect([error.code, error.device]).toEqual(["group-not-viable", "0000:01:00.0"]);
		expect(error.message).toBe(
			"Cannot assign 0000:01:00.0: IOMMU group 1 is not viable, since 0000:01:00.1 (snd_hda_intel), 0000:01:00.2 (xhci_hcd) belong to host drivers",
		);
		expect(error.remedy).toEqual([
			"sudo modprobe vfio-pci",
			"echo 0000:01:00.1 | sudo tee /sys/bus/pci/drivers/snd_hda_intel/unbind",
			"echo vfio-pci | sudo tee /sys/bus/pci/devices/0000:01:00.1/driver_override",
			"echo 0000:01:00.1 | sudo tee /sys/bus/pci/drivers/vfio-pci/bind",
			"echo 0000:01:00.2 | sudo tee /sys/bus/pci/drivers/xhci_hcd/unbind",
			"echo vfio-pci | sudo tee /sys/bus/pci/devices/0000:01:00.2/driver_override",
			"echo 0000:01:00.2 | sudo tee /sys/bus/pci/drivers/vfio-pci/bind",
		]);
	});
	it("requireViable() is silent about a viable group", () => {
		const host = new FakeHost([{ name: "0000:01:00.0", group: 1, driver: "vfio-pci" }]);
		requireViable(host.kernel, 1, "0000:01:00.0");
	});
	it("a bridge with a host driver is unbound, not given to vfio-pci", () => {
		const host = new FakeHost([{ name: "0000:01:00.0", group: 1, driver: "odd_bridge", bridge: true }]);
		expect(vfioError(() => requireViable(host.kernel, 1, "0000:02:00.0")).remedy).toEqual([
			"sudo modprobe vfio-pci",
			"echo 0000:01:00.0 | sudo tee /sys/bus/pci/drivers/odd_bridge/unbind",
		]);
	});
	it("explainNotViable() keeps the kernel's answer, and suspects another owner when sysfs shows no driver", () => {
		const host = new FakeHost([{ name: "0000:01:00.0", group: 1, driver: "vfio-pci" }]);
		const cause = new KernelError(EPERM, "VFIO_GROUP_SET_CONTAINER", "/dev/vfio/1");
		const error = explainNotViable(host.kernel, 1, "0000:01:00.0", cause);
		expect([error.code, error.errno]).toEqual(["group-not-viable", EPERM]);
		expect(error.remedy[0]).toContain("fuser");
	});
});
