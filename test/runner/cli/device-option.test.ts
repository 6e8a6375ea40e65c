import { describe, expect, it } from "vitest";
import { parseDeviceOption, referenceName } from "../../../runner/cli/device-option.ts";

const UUID = "00112233-4455-6677-8899-aabbccddeeff";

describe("parseDeviceOption()", () => {
	it("T-01 F-02 reads a full and a short address", () => {
		expect(parseDeviceOption("vfio-pci,host=0000:05:00.0").reference).toEqual({ host: "0000:05:00.0" });
		expect(parseDeviceOption("vfio-pci,host=01:02.3").reference).toEqual({ host: "0000:01:02.3" });
	});

	it("V-03 reads id, bus, addr and multifunction", () => {
		expect(parseDeviceOption("vfio-pci,host=0000:1a:00.3,id=net,bus=pcie.0,addr=0x03.0x1,multifunction=on")).toEqual({
			kind: "vfio-pci",
			reference: { host: "0000:1a:00.3" },
			id: "net",
			bus: "pcie.0",
			addr: { device: 3, function: 1 },
			multifunction: true,
		});
	});

	it("takes sysfsdev before host, and a name or a path of a platform device", () => {
		const path = `/sys/bus/mdev/devices/${UUID}`;
		expect(parseDeviceOption(`vfio-pci,host=05:00.0,sysfsdev=${path}`).reference).toEqual({ sysfsdev: path });
		expect(parseDeviceOption("vfio-platform,host=fff51000.ethernet,id=net")).toMatchObject({
			kind: "vfio-platform",
			reference: { platform: "fff51000.ethernet" },
			id: "net",
		});
		expect(parseDeviceOption("vfio-platform,host=a,sysfsdev=/sys/x").reference).toEqual({ sysfsdev: "/sys/x" });
	});

	it("takes an open descriptor together with an iommufd object", () => {
		const option = parseDeviceOption("vfio-pci,fd=7,iommufd=iommu0");
		expect(option).toMatchObject({ reference: { fd: 7 }, iommufd: "iommu0" });
		expect(referenceName(option.reference)).toBe("descriptor 7");
	});

	it("reads a token, and repeats no wrong one", () => {
		expect(parseDeviceOption(`vfio-pci,host=05:00.1,vf-token=${UUID}`).vfToken).toBe(UUID);
		const wrong = () => parseDeviceOption("vfio-pci,host=05:00.1,vf-token=secret");
		expect(wrong).toThrow("takes a UUID");
		expect(wrong).not.toThrow("secret");
	});

	it("takes a comma that is written twice as one", () => {
		expect(parseDeviceOption("vfio-pci,host=05:00.0,id=a,,b,bus=c").id).toBe("a,b");
	});

	it("T-04 reads how the device is assigned, by QEMU's names", () => {
		const { assign } = parseDeviceOption("vfio-pci,host=05:00.0,x-intx=off,x-msix-relocation=bar4");
		expect(assign).toEqual({ intx: "off", msixRelocation: "bar4" });
		expect(() => parseDeviceOption("vfio-pci,host=05:00.0,x-no-mmap=perhaps")).toThrow('"on" or "off"');
	});

	it("reads how a platform device is assigned, and what a mediated one allows", () => {
		const { platform, assign } = parseDeviceOption("vfio-platform,host=a,mmap-timeout-ms=0,x-no-mmap=on,x-irqfd=off");
		expect([platform, assign]).toEqual([{ mmapTimeout: 0, mmap: false, irqfd: false }, undefined]);
		expect(parseDeviceOption("vfio-pci,host=05:00.0,x-balloon-allowed=on").discardAllowed).toBe(true);
	});

	it.each([
		["e1000e,mac=x", 'Cannot use device "e1000e"'],
		["vfio-pci", "names no device: add host=ADDRESS"],
		["vfio-platform", "names no device: add host=NAME"],
		["vfio-pci,hots=05:00.0", 'Unknown property "hots" in -device vfio-pci,hots=05:00.0, did you mean "host"?'],
		["vfio-platform,host=a,addr=3", 'Unknown property "addr"'],
		["vfio-platform,host=a,mmap-timeout-ms=soon", 'Cannot use "soon" for mmap-timeout-ms: it is a number'],
		["vfio-platform,host=a,mmap-timeout-ms=0x80000000", "it is a whole number of milliseconds"],
		["vfio-platform,host=a,x-no-mmap=2", 'Cannot use "2" for x-no-mmap: it is "on" or "off"'],
		["vfio-platform,host=a,x-irqfd=maybe", 'Cannot use "maybe" for x-irqfd: it is "on" or "off"'],
		["vfio-platform,host=a,x-intx=off", 'Unknown property "x-intx"'],
		["vfio-pci,host=05:00.0,x-balloon-allowed=maybe", "x-balloon-allowed"],
		["vfio-platform,host=a/b", "that is no name of one"],
		["vfio-pci,sysfsdev=here", "that is no path of a device"],
		["vfio-pci,host", 'Property "host" in -device vfio-pci,host needs a value'],
		["vfio-pci,host=05:00.0,host=06:00.0", 'Property "host" is given twice'],
		["vfio-pci,host=05:00", 'Cannot use "05:00" as a PCI address'],
		["vfio-pci,fd=7", "add iommufd=ID"],
		["vfio-pci,fd=x,iommufd=i", "takes a number from 0"],
		["vfio-pci,fd=7,host=05:00.0,iommufd=i", "names its device twice"],
		["vfio-pci,host=05:00.0,id=", "An id is empty"],
		[`vfio-pci,host=05:00.0,id=${"a".repeat(256)}`, "An id has at most 255 characters"],
		["vfio-pci,host=05:00.0,addr=1.2.3", "it has 3 parts"],
		["vfio-pci,host=05:00.0,addr=32", '"32" is not a slot'],
		["vfio-pci,host=05:00.0,addr=1.8", '"8" is not a function'],
		["vfio-pci,host=05:00.0,addr=-1", '"-1" is not a slot'],
		["vfio-pci,host=05:00.0,multifunction=maybe", "takes on or off"],
	])("refuses %s", (text, message) => {
		expect(() => parseDeviceOption(text)).toThrow(message);
	});
});
