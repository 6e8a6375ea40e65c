/**
 * The PCI functions of the 82576 (datasheet section 9), with the registers that `test/fixtures/lspci/82576.txt` recorded.
 *
 * @module
 */
import { express, msi, msix, rawCapability } from "../../capabilities.ts";
import type { Capability, ExtendedCapability, FunctionDescription } from "../../description.ts";
import { aer, ari, sriov } from "../../extended-capabilities.ts";
import { store } from "../../little-endian.ts";
import type { BarDescription } from "../../model.ts";

/** The registers, and the window to them from I/O ports. */
export const REGISTERS_BAR = 0;
export const IO_BAR = 2;
const FLASH_BAR = 1;
const MSIX_BAR = 3;
/** Bytes of the registers; more than half of them are nothing. */
export const REGISTERS_SIZE = 0x20000;
const VF_BAR_SIZE = 0x4000;
/** MSI-X vectors of the physical function, and of each virtual one. */
export const PF_VECTORS = 10;
export const VF_VECTORS = 3;
const TOTAL_VFS = 8;
const VF_BARS: readonly BarDescription[] = [
	{ index: REGISTERS_BAR, kind: "mem64", size: VF_BAR_SIZE, prefetchable: true, backing: "registers" },
	{ index: MSIX_BAR, kind: "mem64", size: VF_BAR_SIZE, prefetchable: true, backing: "memory" },
];
const IDENTITY = { vendor: 0x8086, revision: 1, classCode: 0x020000, subsystemVendor: 0x1af4, subsystemDevice: 0x1100 };

/** 8086:10c9: INTA#, one MSI, ten MSI-X vectors, SR-IOV. */
export function igbDescription(): FunctionDescription {
	return {
		...IDENTITY,
		name: "82576",
		device: 0x10c9,
		interruptPin: 1,
		bars: [
			{ index: REGISTERS_BAR, kind: "mem32", size: REGISTERS_SIZE, backing: "registers" },
			{ index: FLASH_BAR, kind: "mem32", size: REGISTERS_SIZE, backing: "memory" },
			{ index: IO_BAR, kind: "io", size: 32, backing: "registers" },
			{ index: MSIX_BAR, kind: "mem64", size: VF_BAR_SIZE, backing: "memory" },
		],
		capabilities: [powerManagement(), msi({ offset: 0x50, maskable: true }), messages(PF_VECTORS), pciExpress()],
		extendedCapabilities: [
			errorReporting(),
			ari({ offset: 0x150 }),
			sriov({ offset: 0x160, totalVfs: TOTAL_VFS, vfDevice: 0x10ca, firstVfOffset: 128, vfStride: 2, vfBars: VF_BARS }),
		],
	};
}

/** 8086:10ca: 16 KiB of registers and three MSI-X vectors. */
export function igbVfDescription(): FunctionDescription {
	return {
		...IDENTITY,
		name: "82576 virtual function",
		device: 0x10ca,
		virtualFunction: true,
		bars: VF_BARS,
		capabilities: [pciExpress(), messages(VF_VECTORS)],
		extendedCapabilities: [errorReporting(), ari({ offset: 0x150 })],
	};
}

function powerManagement(): Capability {
	const bytes = new Uint8Array(8);
	// Version 2, device specific initialization.
	store(bytes, 2, 2, 0x0022);
	return rawCapability({ id: 0x01, offset: 0x40, bytes });
}

function messages(vectors: number): Capability {
	return msix({ offset: 0x70, vectors, table: { bar: MSIX_BAR, offset: 0 }, pba: { bar: MSIX_BAR, offset: 0x2000 } });
}

function errorReporting(): ExtendedCapability {
	const capability = { ...aer({ offset: 0x100 }), version: 1 };
	// Internal errors and blocked TLP prefixes are masked.
	store(capability.bytes, 0x08, 4, 0x02400000);
	return capability;
}

function pciExpress(): Capability {
	const capability = express({ offset: 0xa0, flr: true });
	// Device Capabilities 2: end-to-end TLP prefixes; and a link that only knows the registers of version 1.
	store(capability.bytes, 0x24, 4, 0x00300000);
	store(capability.bytes, 0x2c, 4, 0);
	store(capability.bytes, 0x30, 2, 0);
	return capability;
}
