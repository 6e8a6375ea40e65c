import { describe, expect, it } from "vitest";
import { formatPciAddress } from "../../../core/host/address.ts";
import {
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_MSIX,
	PCI_CAP_ID_PM,
	PCI_COMMAND,
} from "../../../core/uapi/pci_regs.ts";
import { walkCapabilities } from "../../../kernel-sim/hardware/config-walk.ts";
import type { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import { DMA_READ, DMA_WRITE, IommuDomain } from "../../../kernel-sim/hardware/iommu.ts";
import { Host } from "../../../kernel-sim/host.ts";

const functionAt = (host: Host, address: string) => host.machine.function(address) as PciFunction;
const capabilityIds = (fn: PciFunction) => walkCapabilities(fn.config).map(({ id }) => id);

describe("Host.reference()", () => {
	it("has the functions, groups and drivers of its table", () => {
		const host = Host.reference();
		const rows = host.machine.functions.map((fn) => {
			const address = formatPciAddress(fn.address);
			return [address, host.machine.groupOf(fn), fn.description.name, host.drivers.get(address) ?? ""].join(" ");
		});
		expect(rows).toEqual([
			"0000:00:00.0 0 host bridge ",
			"0000:00:08.0 1 root port pcieport",
			"0000:00:08.1 2 root port pcieport",
			"0000:00:08.2 3 root port pcieport",
			"0000:00:08.3 4 root port pcieport",
			"0000:00:08.4 5 root port pcieport",
			"0000:00:08.5 6 root port pcieport",
			"0000:00:12.0 7 edu ",
			"0000:00:12.1 7 memory device ",
			"0000:00:1f.0 8 ISA bridge ",
			"0000:01:00.0 9 edu ",
			"0000:05:00.0 10 nvme nvme",
			"0000:06:00.0 11 nvme nvme",
		]);
	});

	it("puts each endpoint behind its root port", () => {
		const { machine } = Host.reference();
		for (const [address, port] of [
			["0000:01:00.0", "0000:00:08.0"],
			["0000:05:00.0", "0000:00:08.4"],
			["0000:06:00.0", "0000:00:08.5"],
		] as const)
			expect(machine.bridgeOf(machine.function(address) as PciFunction)).toBe(machine.function(port));
	});

	it.each([
		["msix", [PCI_CAP_ID_MSIX, PCI_CAP_ID_PM, PCI_CAP_ID_EXP]],
		["msi", [PCI_CAP_ID_MSI, PCI_CAP_ID_PM, PCI_CAP_ID_EXP]],
		["intx", [PCI_CAP_ID_PM, PCI_CAP_ID_EXP]],
	] as const)("gives the first NVMe controller %s as its best interrupt", (interrupts, expected) => {
		const host = Host.reference({ interrupts });
		expect(capabilityIds(functionAt(host, "0000:05:00.0"))).toEqual(expected);
		expect(functionAt(host, "0000:05:00.0").configRead(0x3d, 1)).toBe(1);
		expect(capabilityIds(functionAt(host, "0000:06:00.0"))).toEqual([PCI_CAP_ID_MSIX, PCI_CAP_ID_PM, PCI_CAP_ID_EXP]);
	});

	it("lays the NVMe controller out as the lab's: 16K of registers, 65 vectors at 0x2000, pending bits at 0x3000", () => {
		const nvme = functionAt(Host.reference(), "0000:06:00.0");
		expect(nvme.configRead(0, 4)).toBe(0x00101b36);
		expect(nvme.bar(0)).toMatchObject({ kind: "mem64", size: 0x4000 });
		expect(nvme.msix).toMatchObject({
			vectors: 65,
			table: { bar: 0, offset: 0x2000 },
			pba: { bar: 0, offset: 0x3000 },
		});
		expect(nvme.resetMethods).toEqual(["flr"]);
	});

	it("is programmed: every BAR has an address, no two the same", () => {
		const { machine } = Host.reference();
		const seen = new Set<bigint>();
		for (const fn of machine.functions)
			for (let index = 0; index < 6; index++) {
				if (!fn.bar(index)) continue;
				expect(fn.memoryEnabled).toBe(true);
				expect(fn.barAddress(index)).not.toBe(0n);
				expect(seen.has(fn.barAddress(index))).toBe(false);
				seen.add(fn.barAddress(index));
			}
		expect(seen.size).toBe(6);
	});

	it("runs: edu answers through its BAR, moves data by DMA and interrupts by MSI", () => {
		const { machine } = Host.reference();
		const edu = machine.function("0000:01:00.0") as PciFunction;
		expect(edu.read(0, 0, 4)).toBe(0x010000ed);
		const memory = new Uint8Array(0x1000).map((_value, index) => index);
		const domain = new IommuDomain();
		domain.map(0x10000n, 0x1000n, { bytes: () => memory }, 0, DMA_READ | DMA_WRITE);
		machine.iommu.attach(edu, domain);
		let messages = 0;
		const message = machine.interrupts.allocateMessage(edu, () => messages++);
		edu.configWrite(0x44, 4, Number(message.address));
		edu.configWrite(0x4c, 2, message.data);
		edu.configWrite(0x42, 2, 1);
		edu.configWrite(PCI_COMMAND, 2, 0x6);
		const transfer = (source: bigint, destination: bigint, command: bigint) => {
			edu.write64(0, 0x80, source);
			edu.write64(0, 0x88, destination);
			edu.write64(0, 0x90, 0x100n);
			edu.write64(0, 0x98, command);
		};
		transfer(0x10000n, 0x40000n, 1n);
		transfer(0x40000n, 0x10800n, 7n);
		expect([...memory.subarray(0x8f0, 0x900)]).toEqual([...memory.subarray(0xf0, 0x100)]);
		expect([messages, machine.iommu.faultCount]).toEqual([1, 0]);
		transfer(0x20000n, 0x40000n, 1n);
		expect(machine.iommu.faults[0]).toMatchObject({ address: 0x20000n, device: "0000:01:00.0", direction: "read" });
	});
});

describe("Host.fromLspci()", () => {
	it("starts functions with the drivers that were printed", () => {
		const text = [
			"0000:00:02.0 Ethernet controller [0200]: Somebody [1af4:1000]",
			"\tKernel driver in use: virtio-pci",
			"00: f4 1a 00 10 07 04 00 00 00 00 00 02 00 00 00 00",
			"10: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
			"20: 00 00 00 00 00 00 00 00 00 00 00 00 f4 1a 01 00",
			"30: 00 00 00 00 00 00 00 00 00 00 00 00 0b 01 00 00",
			"",
		].join("\n");
		const host = Host.fromLspci(text);
		expect([...host.drivers]).toEqual([["0000:00:02.0", "virtio-pci"]]);
		expect(host.machine.function("0000:00:02.0")?.configRead(0, 4)).toBe(0x10001af4);
	});
});
