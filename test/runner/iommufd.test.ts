import { beforeEach, describe, expect, it } from "vitest";
import { bindGroup } from "../../core/host/bind.ts";
import { O_RDWR } from "../../core/uapi/fcntl.ts";
import { Host, type SimProcess, SimulatedLinux } from "../../kernel-sim/mod.ts";
import { parseDeviceOption } from "../../runner/cli/device-option.ts";
import { parseIommufdOption } from "../../runner/cli/iommufd-option.ts";
import { assemble } from "../../runner/qtest/assembly.ts";
import { vfioError } from "../core/support/error.ts";

const SIZE = 1 << 20;
let linux: SimulatedLinux;
let kernel: SimProcess;
beforeEach(() => {
	linux = new SimulatedLinux({ host: Host.reference() });
	kernel = linux.process();
});
const leaks = () => Object.entries(linux.leaks()).filter(([, count]) => count !== 0);
/** A machine with these devices and objects, as on a command line. */
const machine = (devices: readonly string[], objects: readonly string[]) =>
	assemble({
		kernel,
		memorySize: SIZE,
		devices: devices.map(parseDeviceOption),
		iommufds: objects.map(parseIommufdOption),
	});
/** Address spaces that have the machine's memory mapped: of its first megabyte, 640 KiB are RAM. */
const copies = () => linux.leaks().pinnedPages / 160;

describe("-object iommufd", () => {
	it("F-03 has devices with one object share their memory's mappings, and those of two apart from each other", () => {
		const together = ["vfio-pci,host=05:00.0,iommufd=a", "vfio-pci,host=06:00.0,iommufd=a"];
		const shared = machine(together, ["iommufd,id=a"]);
		expect(copies()).toBe(1);
		shared[Symbol.dispose]();
		const apart = ["vfio-pci,host=05:00.0,iommufd=a", "vfio-pci,host=06:00.0,iommufd=b"];
		const isolated = machine(apart, ["iommufd,id=a", "iommufd,id=b"]);
		expect(copies()).toBe(2);
		isolated[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("F-03 takes the descriptors that the command line passes, and closes them in the end", () => {
		bindGroup(kernel, "05:00.0");
		const iommu = kernel.open("/dev/iommu", O_RDWR);
		const device = kernel.open("/dev/vfio/devices/vfio0", O_RDWR);
		const made = machine([`vfio-pci,fd=${device},iommufd=a,id=disk`], [`iommufd,id=a,fd=${iommu}`]);
		expect([copies(), made.functions[0]?.configRead(0, 4)]).toEqual([1, 0x00101b36]);
		made[Symbol.dispose]();
		expect(leaks()).toEqual([]);
	});

	it("says which object there is not, and what a descriptor is instead", () => {
		expect(vfioError(() => machine(["vfio-pci,host=05:00.0,iommufd=b"], ["iommufd,id=a"])).message).toContain('"b"');
		const wrong = kernel.open("/dev/null", O_RDWR);
		const error = vfioError(() => machine(["vfio-pci,host=05:00.0,iommufd=a"], [`iommufd,id=a,fd=${wrong}`]));
		expect([error.code, error.message]).toEqual([
			"invalid-argument",
			`Cannot use descriptor ${wrong} as an iommufd: it is /dev/null`,
		]);
		kernel.close(wrong);
		expect(leaks()).toEqual([]);
	});
});
