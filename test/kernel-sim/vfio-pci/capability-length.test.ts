import { describe, expect, it } from "vitest";
import { store } from "../../../kernel-sim/hardware/little-endian.ts";
import { capabilityLength, extendedCapabilityLength } from "../../../kernel-sim/linux/vfio-pci/capability-length.ts";

describe("capabilityLength()", () => {
	it.each([
		["PM", 0x01, [], 8],
		["AGP", 0x02, [], 12],
		["VPD", 0x03, [], 8],
		["MSI", 0x05, [0x00], 10],
		["MSI, 64 bits", 0x05, [0x80], 14],
		["MSI, maskable", 0x05, [0x00, 0x01], 20],
		["MSI, both", 0x05, [0x80, 0x01], 24],
		["PCI-X 1", 0x07, [], 8],
		["PCI-X 2", 0x07, [0x00, 0x10], 24],
		["HyperTransport slave", 0x08, [0, 0x00], 28],
		["HyperTransport MSI mapping", 0x08, [0, 0xa8], 24],
		["vendor", 0x09, [0x14], 0x14],
		["PCIe 1 endpoint", 0x10, [0x01], 20],
		["PCIe 1 integrated endpoint", 0x10, [0x91], 12],
		["PCIe 2 endpoint", 0x10, [0x02], 0x34],
		["PCIe 2 integrated endpoint", 0x10, [0x92], 0x2c],
		["MSI-X", 0x11, [], 12],
		["SATA", 0x12, [], 8],
		["SATA with its registers here", 0x12, [0, 0, 0x0f], 16],
		["AF", 0x13, [], 6],
		["SSVID stays hidden", 0x0d, [], 0],
		["EA stays hidden", 0x14, [], 0],
	] as const)("is right for %s (contract D.4)", (_name, id, body, expected) => {
		const config = new Uint8Array(256);
		config.set([id, 0, ...body], 0x40);
		expect(capabilityLength(config, id, 0x40)).toBe(expected);
	});
});

describe("extendedCapabilityLength()", () => {
	it.each([
		["AER", 0x01, 0, 0, 0x2c],
		["VC with one channel", 0x02, 0, 0, 0x1c],
		["VC with three channels", 0x02, 2, 0, 0x34],
		["VC with an arbitration table of 64 phases at 0x40", 0x09, 0, 0x04000004, 0x60],
		["DSN", 0x03, 0, 0, 12],
		["ACS", 0x0d, 0x1f, 0, 8],
		["ACS with an egress vector of 40 bits", 0x0d, 0x2820, 0, 16],
		["ACS with an egress vector of 256 bits", 0x0d, 0x0020, 0, 40],
		["SR-IOV", 0x10, 0, 0, 0x40],
		["Resizable BAR, two of them", 0x15, 0, 0x40, 20],
		["DPA with three substates", 0x16, 2, 0, 19],
		["TPH without a table", 0x17, 0, 0, 12],
		["TPH with a table of 3", 0x17, 0x00020200, 0, 20],
		["LTR", 0x18, 0, 0, 8],
		["vendor", 0x0b, 0x02010000, 0, 0x20],
		["DVSEC", 0x23, 0x01810000, 0, 0x18],
		["PASID stays hidden", 0x1b, 0, 0, 0],
		["L1 substates stay hidden", 0x1e, 0, 0, 0],
	] as const)("is right for %s (contract D.4)", (_name, id, second, third, expected) => {
		const config = new Uint8Array(4096);
		store(config, 0x104, 4, second);
		store(config, 0x108, 4, third);
		expect(extendedCapabilityLength(config, id, 0x100)).toBe(expected);
	});
});
