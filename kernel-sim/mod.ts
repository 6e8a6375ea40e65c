/** The simulated backend: a Linux with VFIO, and the hardware under it. @module */
export { type LspciMachine, type LspciOptions, machineFromLspci } from "./from-lspci.ts";
export * from "./hardware/mod.ts";
export * from "./hardware/models/mod.ts";
export { Host, type ReferenceHostOptions } from "./host.ts";
