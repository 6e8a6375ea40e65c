import { describe, expect, it } from "vitest";
import { VfioError } from "../../../core/errors.ts";
import { PCI_BASE_ADDRESS_0, PCI_COMMAND, PCI_ROM_ADDRESS, PCI_STATUS } from "../../../core/uapi/pci_regs.ts";
import { rootPort } from "../../../kernel-sim/hardware/bridges.ts";
import {
	af,
	express,
	msi,
	msix,
	pm,
	rawCapability,
	subsystem,
	vendor,
} from "../../../kernel-sim/hardware/capabilities.ts";
import {
	findCapability,
	walkCapabilities,
	walkExtendedCapabilities,
} from "../../../kernel-sim/hardware/config-walk.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import { acs, aer, ari, serialNumber, sriov } from "../../../kernel-sim/hardware/extended-capabilities.ts";
import { PciFunction } from "../../../kernel-sim/hardware/function.ts";
import type { BarDescription } from "../../../kernel-sim/hardware/model.ts";
import { bench } from "./fixtures.ts";

const build = (description: Partial<FunctionDescription> = {}) =>
	new PciFunction({ vendor: 0x1234, device: 0x5678, classCode: 0x010802, ...description });

describe("PciFunction config space", () => {
	it("configRead() shows the identity", () => {
		const fn = build({
			revision: 2,
			subsystemVendor: 0xaaaa,
			subsystemDevice: 0xbbbb,
			interruptPin: 3,
			multifunction: true,
		});
		expect(fn.configRead(0, 4)).toBe(0x56781234);
		expect(fn.configRead(8, 4)).toBe(0x01080202);
		expect(fn.configRead(0x0e, 1)).toBe(0x80);
		expect(fn.configRead(0x2c, 4)).toBe(0xbbbbaaaa);
		expect(fn.configRead(0x3d, 1)).toBe(3);
		expect(fn.configRead(0x03, 2)).toBe(0x0056);
	});

	it("configRead() is all ones beyond the configuration space", () => {
		const fn = build();
		expect(fn.config.length).toBe(256);
		expect([fn.configRead(256, 4), fn.configRead(254, 4), fn.configRead(-1, 1), fn.configRead(4096, 2)]).toEqual([
			0xffffffff, 0xffffffff, 0xff, 0xffff,
		]);
	});

	it("configWrite() leaves read-only registers alone", () => {
		const fn = build({ subsystemVendor: 1 });
		const before = fn.config.slice();
		for (const offset of [0x00, 0x08, 0x2c, 0x34]) fn.configWrite(offset, 4, 0xffffffff);
		fn.configWrite(0x3d, 1, 0xff);
		expect(fn.config).toEqual(before);
	});

	it("configWrite() of one byte changes that byte only", () => {
		const fn = build();
		fn.configWrite(PCI_COMMAND + 1, 1, 0xff);
		expect(fn.configRead(PCI_COMMAND, 2)).toBe(0x0500);
		fn.configWrite(PCI_COMMAND, 1, 0x06);
		expect(fn.configRead(PCI_COMMAND, 2)).toBe(0x0506);
	});

	it("configWrite() clears the bits of STATUS that are written as one", () => {
		const fn = build();
		fn.config[PCI_STATUS + 1] = 0xf9;
		fn.configWrite(PCI_STATUS, 2, 0x8000);
		expect(fn.configRead(PCI_STATUS, 2)).toBe(0x7900);
		fn.configWrite(PCI_COMMAND, 4, 0xffff0000);
		expect(fn.configRead(PCI_STATUS, 2)).toBe(0);
	});

	it("has no Interrupt Disable bit when it is older than PCI 2.3", () => {
		const fn = build({ interruptDisable: false });
		fn.configWrite(PCI_COMMAND, 2, 0xffff);
		expect(fn.configRead(PCI_COMMAND, 2)).toBe(0x0147);
	});

	it.each<[BarDescription["kind"], number, boolean, number, number]>([
		["mem32", 0x1000, false, 0xfffff000, 0],
		["mem32", 0x80000000, true, 0x80000008, 0],
		["mem32", 16, false, 0xfffffff0, 0],
		["mem64", 0x4000, false, 0xffffc004, 0xffffffff],
		["mem64", 2 ** 33, true, 0x0000000c, 0xfffffffe],
		["io", 32, false, 0xffffffe1, 0],
		["io", 4, false, 0xfffffffd, 0],
	])("answers the sizing protocol of a %s BAR of %i bytes", (kind, size, prefetchable, low, high) => {
		const fn = build({ bars: [{ index: 2, kind, size, prefetchable, backing: "registers" }] });
		fn.configWrite(PCI_BASE_ADDRESS_0 + 8, 4, 0xffffffff);
		fn.configWrite(PCI_BASE_ADDRESS_0 + 12, 4, 0xffffffff);
		expect(fn.configRead(PCI_BASE_ADDRESS_0 + 8, 4)).toBe(low);
		expect(fn.configRead(PCI_BASE_ADDRESS_0 + 12, 4)).toBe(high);
		fn.configWrite(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
		expect(fn.configRead(PCI_BASE_ADDRESS_0, 4)).toBe(0);
	});

	it("barAddress() is what was programmed, aligned down", () => {
		const fn = build({
			bars: [
				{ index: 0, kind: "mem64", size: 0x4000, backing: "registers" },
				{ index: 2, kind: "io", size: 16, backing: "registers" },
			],
		});
		fn.configWrite(0x10, 4, 0xfe601234);
		fn.configWrite(0x14, 4, 0x12);
		fn.configWrite(0x18, 4, 0xc015);
		expect([fn.barAddress(0), fn.barAddress(1), fn.barAddress(2)]).toEqual([0x12fe600000n, 0n, 0xc010n]);
		expect(fn.configRead(0x18, 4)).toBe(0xc011);
	});

	it("answers the sizing protocol of the ROM, and reads it when it is enabled", () => {
		const { fn } = bench({ rom: { size: 0x800, image: Uint8Array.of(0x55, 0xaa, 1) } });
		fn.configWrite(PCI_ROM_ADDRESS, 4, 0xfffffffe);
		expect(fn.configRead(PCI_ROM_ADDRESS, 4)).toBe(0xfffff800);
		expect(fn.readRom(0, 2)).toBe(0xffff);
		fn.configWrite(PCI_ROM_ADDRESS, 4, 0xfe000001);
		expect([fn.readRom(0, 2), fn.readRom(0, 4), fn.readRom(0x1000, 1)]).toEqual([0xaa55, 0xff01aa55, 0xff]);
	});

	it("lays capabilities out in the order given, where asked and in the first gap", () => {
		const fn = build({
			capabilities: [
				msi({ maskable: true }),
				pm({ offset: 0x48 }),
				vendor({ body: Uint8Array.of(1, 2) }),
				subsystem({ vendor: 1, device: 2 }),
			],
			extendedCapabilities: [aer(), acs({ offset: 0x200 }), ari(), serialNumber({ serial: 5n })],
		});
		expect(fn.config.length).toBe(4096);
		expect(walkCapabilities(fn.config).map(({ id, offset }) => [id, offset])).toEqual([
			[0x05, 0x50],
			[0x01, 0x48],
			[0x09, 0x40],
			[0x0d, 0x68],
		]);
		expect(walkExtendedCapabilities(fn.config).map(({ id, version, offset }) => [id, version, offset])).toEqual([
			[0x01, 2, 0x100],
			[0x0d, 1, 0x200],
			[0x0e, 1, 0x12c],
			[0x03, 1, 0x134],
		]);
	});

	it.each<[string, Partial<FunctionDescription>]>([
		["capabilities overlap", { capabilities: [pm({ offset: 0x40 }), msi({ offset: 0x44 })] }],
		["a capability is in the header", { capabilities: [pm({ offset: 0x3c })] }],
		["a capability is misaligned", { capabilities: [pm({ offset: 0x42 })] }],
		["a capability does not fit", { capabilities: [rawCapability({ id: 9, bytes: new Uint8Array(200) })] }],
		["nothing is at 0x100", { extendedCapabilities: [acs({ offset: 0x200 })] }],
		["two BARs overlap", { bars: [bar(0, "mem64", 16), bar(1, "io", 4)] }],
		["a 64-bit BAR is the last", { bars: [bar(5, "mem64", 16)] }],
		["a BAR's size is no power of two", { bars: [bar(0, "mem32", 48)] }],
		["a BAR is too small", { bars: [bar(0, "mem32", 8)] }],
		["a 32-bit BAR is too large", { bars: [bar(0, "mem32", 2 ** 32)] }],
		["the ROM's size is no power of two", { rom: { size: 3000 } }],
	])("throws invalid-argument when %s", (_name, description) => {
		const attempt = () => build(description);
		expect(attempt).toThrow(VfioError);
		expect(attempt).toThrow(/^Cannot lay out/);
	});

	it.each([
		["MSI with 3 vectors", () => msi({ vectors: 3 })],
		["MSI with 64 vectors", () => msi({ vectors: 64 })],
		["MSI-X with 0 vectors", () => msix({ vectors: 0, table: { bar: 0, offset: 0 }, pba: { bar: 0, offset: 0x800 } })],
		[
			"MSI-X with 2049 vectors",
			() => msix({ vectors: 2049, table: { bar: 0, offset: 0 }, pba: { bar: 0, offset: 0 } }),
		],
		["an MSI-X table at 4", () => msix({ vectors: 1, table: { bar: 0, offset: 4 }, pba: { bar: 0, offset: 8 } })],
		["an MSI-X table in BAR 6", () => msix({ vectors: 1, table: { bar: 6, offset: 0 }, pba: { bar: 0, offset: 8 } })],
	])("throws invalid-argument for %s", (_name, attempt) => {
		expect(attempt).toThrow(/^Cannot build MSI/);
	});

	it("gives each standard register its writable bits", () => {
		const fn = build({
			capabilities: [pm(), msi({ vectors: 4, maskable: true }), express({ flr: true }), af()],
			extendedCapabilities: [aer(), acs({ capable: 0x5, enabled: 0 })],
		});
		const writeOnes = (offset: number, width: 2 | 4) => {
			fn.configWrite(offset, width, width === 4 ? 0xffffffff : 0xffff);
			return fn.configRead(offset, width);
		};
		const at = (id: number) => findCapability(fn.config, id);
		const msiAt = at(5);
		expect(writeOnes(msiAt + 2, 2)).toBe(0x01f5);
		expect(writeOnes(msiAt + 4, 4)).toBe(0xfffffffc);
		expect(writeOnes(msiAt + 8, 4)).toBe(0xffffffff);
		expect(writeOnes(msiAt + 12, 4)).toBe(0x0000ffff);
		expect(writeOnes(msiAt + 16, 4)).toBe(0x0000000f);
		expect(writeOnes(msiAt + 20, 4)).toBe(0);
		const aerAt = 0x100;
		expect(writeOnes(aerAt + 8, 4)).toBe(0x07fff030);
		expect(writeOnes(aerAt + 0x18, 4)).toBe(0x000001e0);
		const acsAt = walkExtendedCapabilities(fn.config)[1]?.offset ?? 0;
		expect(writeOnes(acsAt + 4, 4)).toBe(0x00050005);
	});

	it("takes a vendor capability's own writable bits", () => {
		const fn = build({ capabilities: [vendor({ body: new Uint8Array(5), writable: Uint8Array.of(0, 0x0f) })] });
		fn.configWrite(0x40, 4, 0xffffffff);
		fn.configWrite(0x44, 4, 0xffffffff);
		expect(fn.configRead(0x40, 4)).toBe(0x00080009);
		expect(fn.configRead(0x44, 4)).toBe(0x0000000f);
	});

	it("sizes the BARs of virtual functions", () => {
		const fn = build({
			capabilities: [express()],
			extendedCapabilities: [sriov({ totalVfs: 4, vfDevice: 0x10, vfBars: [{ index: 0, size: 0x4000 }] })],
		});
		fn.configWrite(0x124, 4, 0xffffffff);
		fn.configWrite(0x128, 4, 0xffffffff);
		expect([fn.configRead(0x124, 4), fn.configRead(0x128, 4)]).toEqual([0xffffc004, 0xffffffff]);
	});

	it("lays out a bridge: bus numbers, windows, bridge control", () => {
		const fn = new PciFunction(rootPort({ secondary: 5, subordinate: 7 }));
		expect(fn.isBridge).toBe(true);
		expect(fn.configRead(0x18, 4)).toBe(0x00070500);
		fn.configWrite(0x18, 4, 0xffffffff);
		expect(fn.configRead(0x18, 4)).toBe(0x00ffffff);
		fn.configWrite(0x20, 4, 0xffffffff);
		fn.configWrite(0x24, 4, 0xffffffff);
		fn.configWrite(0x28, 4, 0xffffffff);
		expect([fn.configRead(0x20, 4), fn.configRead(0x24, 4), fn.configRead(0x28, 4)]).toEqual([
			0xfff0fff0, 0xfff1fff1, 0xffffffff,
		]);
		fn.configWrite(0x3e, 2, 0xffff);
		expect(fn.configRead(0x3e, 2)).toBe(0x005f);
	});
});

function bar(index: number, kind: BarDescription["kind"], size: number): BarDescription {
	return { index, kind, size, backing: "registers" };
}
