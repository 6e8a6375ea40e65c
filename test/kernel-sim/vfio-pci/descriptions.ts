import { express, msi, msix, pm } from "../../../kernel-sim/hardware/capabilities.ts";
import type { FunctionDescription } from "../../../kernel-sim/hardware/description.ts";
import { aer, rawExtendedCapability, serialNumber } from "../../../kernel-sim/hardware/extended-capabilities.ts";

/** A ROM that begins as one should. */
const romImage = new Uint8Array(512);
romImage.set([0x55, 0xaa, 0x01, 0x00]);

/** Shaped as the lab's 82574L: every kind of BAR, a ROM, PM without No_Soft_Reset, MSI, MSI-X, PCIe v1, AER. */
export const E1000E: FunctionDescription = {
	name: "e1000e",
	vendor: 0x8086,
	device: 0x10d3,
	classCode: 0x020000,
	interruptPin: 1,
	bars: [
		{ index: 0, kind: "mem32", size: 0x20000, backing: "memory" },
		{ index: 1, kind: "mem32", size: 0x20000, backing: "memory" },
		{ index: 2, kind: "io", size: 32, backing: "memory" },
		{ index: 3, kind: "mem32", size: 0x4000, backing: "memory" },
	],
	rom: { size: 0x40000, image: romImage },
	capabilities: [
		pm({ offset: 0xc8, pme: true }),
		msi({ offset: 0xd0, vectors: 1 }),
		express({ offset: 0xe0, version: 1 }),
		msix({ offset: 0xa0, vectors: 5, table: { bar: 3, offset: 0 }, pba: { bar: 3, offset: 0x2000 } }),
	],
	extendedCapabilities: [aer(), serialNumber({ serial: 0x1234n })],
};

/** A 64-bit prefetchable BAR, FLR, MSI with eight maskable vectors, and an extended list that begins with a hidden capability. */
export const WIDE: FunctionDescription = {
	name: "wide",
	vendor: 0x1b36,
	device: 0x00ff,
	classCode: 0x010802,
	interruptPin: 1,
	bars: [
		{ index: 0, kind: "mem64", size: 0x4000, backing: "memory", prefetchable: true },
		{ index: 4, kind: "mem32", size: 256, backing: "memory" },
	],
	capabilities: [
		pm({ offset: 0x40, noSoftReset: true }),
		msi({ offset: 0x50, vectors: 8, maskable: true }),
		express({ offset: 0x80, flr: true }),
	],
	extendedCapabilities: [
		rawExtendedCapability({ id: 0x1b, version: 1, bytes: new Uint8Array(8) }),
		serialNumber({ serial: 0x5678n }),
	],
};
