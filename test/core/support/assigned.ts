// An assigned function on a fake device, plugged into a fake slot, and a guest's habits.
import { AssignedFunction } from "../../../core/pci/assigned-function.ts";
import type { AssignOptions } from "../../../core/pci/mod.ts";
import { FakeSlot } from "./fake-slot.ts";
import { FakeDevice, type FakeDeviceOptions } from "./fake-vfio-device.ts";
import { type ConfigOptions, configSpace, msiBody, msixBody } from "./pci-config.ts";

export interface Assigned {
	readonly device: FakeDevice;
	readonly slot: FakeSlot;
	readonly fn: AssignedFunction;
	readonly reports: string[];
}

export const MSI_AT = 0x50;
export const MSIX_AT = 0x70;
/** The table is at 0x2000 of BAR 0, the pending bits at 0x3000. */
export const TABLE = 0x2000;
export const PBA = 0x3000;

/** A NIC with INTx, MSI of 4 maskable vectors and MSI-X of `vectors` in BAR 0 of 64 KiB, and an I/O BAR 2. */
export function nicConfig(vectors = 8, more: ConfigOptions = {}): Uint8Array {
	return configSpace({
		bars: [0xfe400000, 0, 0xe001],
		capabilities: [
			[0x40, 1, [0x03, 0, 0x08, 0]],
			[MSI_AT, 5, msiBody({ vectors: 4, maskable: true })],
			[MSIX_AT, 0x11, msixBody(vectors, [0, TABLE], [0, PBA])],
		],
		...more,
	});
}

export function assign(
	device: Partial<FakeDeviceOptions> & { vectors?: number } = {},
	options: AssignOptions = {},
	slot = new FakeSlot(),
): Assigned {
	const { vectors = 8, ...rest } = device;
	const reports: string[] = [];
	const made = new FakeDevice({
		config: nicConfig(vectors),
		regions: { 0: { size: 0x10000, mappable: true }, 2: { size: 0x20 } },
		irqs: [1, 4, vectors, 1, 1],
		...rest,
	});
	const fn = AssignedFunction.attach(made, { onReport: (message) => reports.push(message), ...options });
	fn.plug(slot);
	made.take();
	return { device: made, slot, fn, reports };
}

/** The same, with the decoding of memory switched on, as firmware or a driver does. */
export function assignDecoding(...args: Parameters<typeof assign>): Assigned {
	const assigned = assign(...args);
	assigned.fn.configWrite(4, 2, 0x2);
	assigned.device.take();
	return assigned;
}

/** Writes an entry of the MSI-X table: address 0xfee00000 + vector * 16, data 0x40 + vector. */
export function program(fn: AssignedFunction, vector: number, masked = false): void {
	const at = TABLE + 16 * vector;
	fn.barWrite(0, at, 4, 0xfee00000 + 16 * vector);
	fn.barWrite(0, at + 4, 4, 0);
	fn.barWrite(0, at + 8, 4, 0x40 + vector);
	fn.barWrite(0, at + 12, 4, masked ? 1 : 0);
}

/** The guest's MSI-X control word. */
export function msixControl(fn: AssignedFunction, value: number): void {
	fn.configWrite(MSIX_AT + 2, 2, value);
}

export const MSIX_ON = 0x8000;
export const MSIX_MASKALL = 0x4000;
