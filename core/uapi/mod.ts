/**
 * What the Linux headers define, under their own names.
 *
 * @module
 */
export * from "./errno.ts";
export * from "./fcntl.ts";
export * from "./iommufd.ts";
export * from "./kvm.ts";
export * from "./pci_regs.ts";
export { describeArgument, requestName, type VfioFileKind, vfioFileKind } from "./requests.ts";
export { type Fields, type Scalar, type Struct, type StructView, struct } from "./struct.ts";
export * from "./vfio.ts";
