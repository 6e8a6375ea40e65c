/**
 * The simulated backend of the kernel seam: a Linux with VFIO, and the PCI hardware under it.
 *
 * @module
 */
export { type SimClock, VirtualClock } from "./clock.ts";
export type { LspciOptions } from "./from-lspci.ts";
export * from "./hardware/mod.ts";
export * from "./hardware/models/mod.ts";
export { Host, type ReferenceHostOptions } from "./host.ts";
export * from "./linux/mod.ts";
export { printLspci } from "./to-lspci.ts";
