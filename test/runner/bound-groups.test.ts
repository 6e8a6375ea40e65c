import { describe, expect, it } from "vitest";
import { PciSysfs } from "../../core/mod.ts";
import { Host, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { BoundGroups } from "../../runner/bound-groups.ts";

const NVME = "0000:05:00.0";

describe("BoundGroups", () => {
	it("gives a group back with the last that holds it, by whichever path it was named", () => {
		const kernel = new SimulatedLinux({ host: Host.reference() }).process();
		const pci = new PciSysfs(kernel);
		const bound: number[] = [];
		const groups = new BoundGroups(kernel, ({ group }) => bound.push(group));
		const first = groups.hold({ host: NVME });
		const second = groups.hold({ sysfsdev: `/sys/bus/pci/devices/${NVME}` });
		expect(bound).toHaveLength(1);
		first[Symbol.dispose]();
		first[Symbol.dispose]();
		expect(pci.driver(NVME)).toBe("vfio-pci");
		second[Symbol.dispose]();
		expect(pci.driver(NVME)).toBe("nvme");
		groups.hold({ host: NVME })[Symbol.dispose]();
		expect(bound).toHaveLength(2);
	});

	it("leaves what is no PCI function to whoever opened or made it", () => {
		const kernel = new SimulatedLinux({ host: Host.reference() }).process();
		const groups = new BoundGroups(kernel, () => expect.unreachable());
		for (const reference of [{ fd: 7 }, { platform: "a.b" }, { sysfsdev: "/sys/devices/0000:99:00.0" }])
			groups.hold(reference)[Symbol.dispose]();
	});
});
