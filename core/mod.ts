/**
 * vfio-ts: assigns a device through Linux VFIO, to a guest or to a program.
 *
 * @module
 */
export * from "./device/mod.ts";
export { KernelError, VfioError, type VfioErrorCode, type VfioErrorDetails } from "./errors.ts";
export { FailingKernel } from "./failing-kernel.ts";
export * from "./host/mod.ts";
export * from "./iommu/mod.ts";
export type { AccessWidth, AllocateOptions, Clock, Kernel, Mapping, Memory } from "./kernel.ts";
export * from "./kvm/mod.ts";
export * from "./machine/mod.ts";
export * from "./pci/mod.ts";
export * from "./platform/mod.ts";
export * from "./qmp/mod.ts";
export { Releases } from "./release.ts";
export { type TracedCall, type TraceOptions, TracingKernel } from "./tracing-kernel.ts";
export * from "./uapi/mod.ts";
