import { describe, expect, it } from "vitest";
import { parseDeviceOption } from "../../../runner/cli/device-option.ts";

describe("parseDeviceOption()", () => {
	it("T-01 F-02 reads a full and a short address", () => {
		expect(parseDeviceOption("vfio-pci,host=0000:05:00.0").host).toEqual({ domain: 0, bus: 5, device: 0, function: 0 });
		expect(parseDeviceOption("vfio-pci,host=01:02.3").host).toEqual({ domain: 0, bus: 1, device: 2, function: 3 });
	});

	it("V-03 reads id, bus, addr and multifunction", () => {
		expect(parseDeviceOption("vfio-pci,host=0000:1a:00.3,id=net,bus=pcie.0,addr=0x03.0x1,multifunction=on")).toEqual({
			host: { domain: 0, bus: 0x1a, device: 0, function: 3 },
			id: "net",
			bus: "pcie.0",
			addr: { device: 3, function: 1 },
			multifunction: true,
		});
	});

	it("T-04 reads how the device is assigned, by QEMU's names", () => {
		const { assign } = parseDeviceOption("vfio-pci,host=05:00.0,x-intx=off,x-msix-relocation=bar4");
		expect(assign).toEqual({ intx: "off", msixRelocation: "bar4" });
		expect(() => parseDeviceOption("vfio-pci,host=05:00.0,x-no-mmap=perhaps")).toThrow('"on" or "off"');
	});

	it.each([
		["e1000e,mac=x", 'Cannot use device "e1000e"'],
		["vfio-pci", "names no device"],
		["vfio-pci,hots=05:00.0", 'Unknown property "hots" in -device vfio-pci,hots=05:00.0, did you mean "host"?'],
		["vfio-pci,host", 'Property "host" in -device vfio-pci,host needs a value'],
		["vfio-pci,host=05:00.0,host=06:00.0", 'Property "host" is given twice'],
		["vfio-pci,host=05:00", 'Cannot use "05:00" as a PCI address'],
		["vfio-pci,host=05:00.0,addr=1.2.3", "it has 3 parts"],
		["vfio-pci,host=05:00.0,addr=32", '"32" is not a slot'],
		["vfio-pci,host=05:00.0,addr=1.8", '"8" is not a function'],
		["vfio-pci,host=05:00.0,addr=-1", '"-1" is not a slot'],
		["vfio-pci,host=05:00.0,multifunction=maybe", "takes on or off"],
	])("refuses %s", (text, message) => {
		expect(() => parseDeviceOption(text)).toThrow(message);
	});
});
