import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX } from "../../../core/uapi/vfio.ts";
import { Host, mtty, SimulatedLinux } from "../../../kernel-sim/mod.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const TYPES = "/sys/class/mdev_bus/mtty/mdev_supported_types";

describe("mtty", () => {
	it("is created, opened by sysfsdev, and loops bytes back", () => {
		const linux = new SimulatedLinux({ host: Host.reference(), mediated: [mtty()] });
		const kernel = linux.process();
		kernel.writeFile(`${TYPES}/mtty-2/create`, UUID);
		const device = VfioDevice.open(kernel, { sysfsdev: `/sys/bus/mdev/devices/${UUID}` });
		expect(device.name).toBe(UUID);
		expect(device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, 0, 4)).toBe(0x32534348);
		device.writeRegion(0, 0, 1, 0x41);
		expect(device.readRegion(0, 0, 1)).toBe(0x41);
		device[Symbol.dispose]();
		kernel.writeFile(`/sys/bus/mdev/devices/${UUID}/remove`, "1");
		expect(Object.values(linux.leaks()).every((count) => count === 0)).toBe(true);
	});
});
