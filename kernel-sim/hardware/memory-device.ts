/**
 * A function that is nothing but memory behind its BARs: no model, no interrupt, no DMA.
 *
 * @module
 */
import type { FunctionDescription } from "./description.ts";

/** Options of {@link memoryDevice}. */
export interface MemoryDeviceOptions {
	/** Bytes of BAR 0 (32 bits); 64 KiB when left out. */
	readonly size?: number;
	/** Bytes of BAR 2 (64 bits, prefetchable); 1 MiB when left out. */
	readonly prefetchableSize?: number;
	/** There are more functions in its slot. */
	readonly multifunction?: boolean;
}

/** Describes it: `new PciFunction(memoryDevice())` is all there is to it. */
export function memoryDevice(options: MemoryDeviceOptions = {}): FunctionDescription {
	return {
		name: "memory device",
		vendor: 0x1234,
		device: 0x11e9,
		classCode: 0x058000,
		subsystemVendor: 0x1af4,
		subsystemDevice: 0x1100,
		multifunction: options.multifunction ?? false,
		bars: [
			{ index: 0, kind: "mem32", size: options.size ?? 0x10000, backing: "memory" },
			{ index: 2, kind: "mem64", size: options.prefetchableSize ?? 0x100000, prefetchable: true, backing: "memory" },
		],
	};
}
