import { afterEach, describe, expect, it, vi } from "vitest";
import { Host, SimulatedLinux } from "../../../kernel-sim/mod.ts";

describe("SimulatedLinux", () => {
	afterEach(() => {
		vi.restoreAllMocks();
	});

	it.each([0, 1000, 65534])("is the same whoever runs this program, here uid %i", (uid) => {
		vi.spyOn(process, "getuid").mockReturnValue(uid);
		vi.spyOn(process, "getgid").mockReturnValue(uid);
		const linux = new SimulatedLinux({ host: Host.reference() });
		linux.process().writeFile("/sys/bus/pci/devices/0000:05:00.0/driver/unbind", "0000:05:00.0");
		// A process of the simulation is root unless it says otherwise, and only that counts.
		const user = linux.process({ uid: 1000 });
		expect(() => user.writeFile("/sys/bus/pci/drivers_probe", "0000:05:00.0")).toThrow("EACCES");
		expect(user.readFile("/sys/bus/pci/devices/0000:05:00.0/config")).toHaveLength(64);
	});
});
