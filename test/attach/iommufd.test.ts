import { beforeEach, describe, expect, it } from "vitest";
import { VfioDevice } from "../../core/device/device.ts";
import { bindGroup } from "../../core/host/bind.ts";
import { Iommufd } from "../../core/iommu/iommufd.ts";
import { Host, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";

const NVME = "0000:05:00.0";
const OTHER = "0000:06:00.0";
const MIB = 1 << 20;

let linux: SimulatedLinux;
let kernel: SimProcess;
beforeEach(() => {
	linux = new SimulatedLinux({ host: Host.reference() });
	kernel = linux.process();
	for (const address of [NVME, OTHER]) bindGroup(kernel, address);
});
const leaks = () => Object.entries(linux.leaks()).filter(([, count]) => count !== 0);

describe("VfioDevice.open() with iommufd", () => {
	it("opens the character device, and gives everything back", () => {
		const iommufd = Iommufd.open(kernel);
		const device = VfioDevice.open(kernel, NVME, { iommufd });
		iommufd[Symbol.dispose]();
		expect(device.opened).toMatchObject({ way: "character-device", node: "/dev/vfio/devices/vfio0" });
		expect(device.readRegion(7, 0, 4)).toBe(0x00101b36);
		const memory = kernel.allocate(MIB);
		device.iommu.map(0n, memory.address, BigInt(MIB));
		expect(linux.leaks()).toMatchObject({ dmaMappings: 1, pinnedPages: 256 });
		device[Symbol.dispose]();
		memory[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});
});
