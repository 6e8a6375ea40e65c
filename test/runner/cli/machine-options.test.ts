import { describe, expect, it } from "vitest";
import { MACHINE_OPTIONS, machineOptions } from "../../../runner/cli/machine-options.ts";
import { parseArguments } from "../../../runner/cli/options.ts";

const read = (...args: string[]) => machineOptions(parseArguments(args, MACHINE_OPTIONS));

describe("machineOptions()", () => {
	it("sorts devices, root ports and objects, each in the order given", () => {
		const { devices, rootPorts, iommufds } = read(
			...["-device", "vfio-pci,host=05:00.0,id=a,bus=pcie.1,iommufd=iommu0"],
			...["-device", "pcie-root-port,id=pcie.1,port=0x1,bus=pcie.0,addr=0x1.0x2,chassis=1,multifunction=on"],
			...["-device", "pcie-root-port,id=pcie.2,hotplug=off"],
			...["-device", "vfio-pci,host=06:00.0,id=b"],
			...["-object", "iommufd,id=iommu0,fd=5"],
		);
		expect(devices.map(({ id }) => id)).toEqual(["a", "b"]);
		expect(rootPorts).toEqual([
			{ id: "pcie.1", options: { address: { device: 1, function: 2 }, multifunction: true, port: 1 } },
			{ id: "pcie.2", options: { multifunction: false, hotPlug: false } },
		]);
		expect(iommufds).toEqual([{ id: "iommu0", fd: 5 }]);
	});

	it.each([
		[["-device", "vfio-pci,host=05:00.0,bus=rp9"], 'Cannot use bus "rp9": there is no such bus; use one of pcie.0'],
		[["-device", "vfio-pci,host=05:00.0,iommufd=i"], 'Cannot use iommufd "i": there is no such object'],
		[
			["-device", "vfio-pci,host=05:00.0,id=a", "-device", "vfio-pci,host=06:00.0,id=a"],
			'device id "a" is given twice',
		],
		[["-device", "pcie-root-port,id=a", "-device", "vfio-pci,host=06:00.0,id=a"], 'device id "a" is given twice'],
		[["-object", "iommufd,id=a", "-object", "iommufd,id=a"], 'object id "a" is given twice'],
		[["-object", "rng-random,id=a"], 'Cannot use object "rng-random"'],
		[["-object", "iommufd"], "has no id"],
		[["-device", "pcie-root-port,addr=4"], "has no id"],
		[["-device", "pcie-root-port,id=a,bus=b"], 'Root port "a" goes into pcie.0'],
		[["-device", "pcie-root-port,id=a,multifunction=perhaps"], "takes on or off"],
	])("refuses %j", (args, message) => {
		expect(() => read(...args)).toThrow(message);
	});
});
