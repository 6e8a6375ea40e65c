/**
 * vfio-pci, simulated: the driver that hands PCI devices to user space.
 *
 * @module
 */
export type { MemoryGate } from "./bar-memory.ts";
export { BarMemory } from "./bar-memory.ts";
export { ConfigSpace } from "./config-space.ts";
export { VfioPciDevice } from "./device.ts";
export { DeviceFile } from "./device-file.ts";
export { DmaBufFile } from "./dma-buf.ts";
export { VfioPciDriver } from "./driver.ts";
export type { OpenDevice } from "./open-device.ts";
export type { VfioPciOptions } from "./options.ts";
export { probeResetMethods, resetFunction, tryResetFunction } from "./reset.ts";
