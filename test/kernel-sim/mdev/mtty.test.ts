import { describe, expect, it } from "vitest";
import { VfioDevice } from "../../../core/device/device.ts";
import { O_RDWR } from "../../../core/uapi/fcntl.ts";
import {
	VFIO_DEVICE_ATTACH_IOMMUFD_PT,
	VFIO_DEVICE_ATTACH_PASID,
	VFIO_DEVICE_BIND_IOMMUFD,
	VFIO_PCI_CONFIG_REGION_INDEX,
	vfio_device_attach_iommufd_pt,
	vfio_device_bind_iommufd,
} from "../../../core/uapi/vfio.ts";
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

	it("keeps whatever is written to a BAR, and aligns the answer about its size alone", () => {
		const linux = new SimulatedLinux({ host: Host.reference(), mediated: [mtty()] });
		const kernel = linux.process();
		kernel.writeFile(`${TYPES}/mtty-1/create`, UUID);
		using device = VfioDevice.open(kernel, { sysfsdev: `/sys/bus/mdev/devices/${UUID}` });
		const bar = (index: number, value: number) => {
			device.writeRegion(VFIO_PCI_CONFIG_REGION_INDEX, 0x10 + 4 * index, 4, value);
			return device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, 0x10 + 4 * index, 4);
		};
		expect(bar(0, 0xffffffff)).toBe(0xfffffff9);
		expect(bar(0, 0xc154)).toBe(0xc155);
		expect(bar(0, 0xc15a)).toBe(0xc15b);
		// As the driver does it: the kind is taken from what the register held.
		expect(bar(0, 0)).toBe(3);
		expect(bar(1, 0xffffffff)).toBe(0);
	});

	it("268: newer kernels know attachments of processes, and this device has none", () => {
		const linux = new SimulatedLinux({ host: Host.reference(), version: "7.2", mediated: [mtty()] });
		const kernel = linux.process();
		kernel.writeFile(`${TYPES}/mtty-1/create`, UUID);
		const cdev = kernel.open("/dev/vfio/devices/vfio0", O_RDWR);
		const bind = vfio_device_bind_iommufd.create();
		Object.assign(bind, { argsz: 16, iommufd: kernel.open("/dev/iommu", O_RDWR) });
		kernel.ioctl(cdev, VFIO_DEVICE_BIND_IOMMUFD, bind.bytes);
		const attach = vfio_device_attach_iommufd_pt.create();
		Object.assign(attach, { argsz: 16, flags: VFIO_DEVICE_ATTACH_PASID, pt_id: 1, pasid: 1 });
		expect(() => kernel.ioctl(cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach.bytes)).toThrow("EOPNOTSUPP");
		kernel.exit();
		expect(Object.values(linux.leaks()).every((count) => count === 0)).toBe(true);
	});

	it("118: its descriptor names it in sysfs, since 7.2", () => {
		for (const version of ["6.12", "7.2"] as const) {
			const linux = new SimulatedLinux({ host: Host.reference(), version, mediated: [mtty()] });
			const kernel = linux.process();
			kernel.writeFile(`${TYPES}/mtty-1/create`, UUID);
			using device = VfioDevice.open(kernel, { sysfsdev: `/sys/bus/mdev/devices/${UUID}` });
			const line = version === "6.12" ? "" : `vfio-device-syspath: /sys/devices/virtual/mtty/mtty/${UUID}\n`;
			expect(kernel.openFiles.get(device.fd)?.fdinfo()).toBe(line);
		}
	});
});
