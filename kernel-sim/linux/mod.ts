/**
 * A simulated Linux with VFIO.
 *
 * @module
 */

export type { PinnedMemory } from "./address-space.ts";
export { ALL_CAPABILITIES, type Capability as ProcessCapability } from "./capability.ts";
export type { PciDevice, PciDriver, PciIdentity, ResetMethod as DeviceResetMethod } from "./driver.ts";
export type { BusDriver, BusListener, DrivenDevice, DriverBus } from "./driver-bus.ts";
export { type IoctlArgument, OpenFile } from "./file.ts";
export type { FileSystem } from "./filesystem.ts";
export type { IommuGroup, ReservedRegion } from "./iommu-group.ts";
export type { Kvm, KvmGuest, VirtualMachine } from "./kvm/mod.ts";
export type { Leaks } from "./leaks.ts";
export { SimulatedLinux } from "./linux.ts";
export type { LinuxOptions } from "./linux-options.ts";
export * from "./mdev/mod.ts";
export type { ModuleParameters, ParameterValues } from "./parameters.ts";
export type { PciBus } from "./pci-bus.ts";
export type { PlatformBus } from "./platform/bus.ts";
export type { PlatformBusDevice, PlatformDriver } from "./platform/device.ts";
export type { ProcessOptions, SimProcess } from "./process.ts";
export { type MappedRegion, RegionMapping } from "./region-mapping.ts";
export type { Sleep } from "./sleep.ts";
export type { DeviceFeatures, FeatureRequest } from "./vfio/device-feature.ts";
export type { DmaLoggingOps } from "./vfio/dma-logging.ts";
export type { EmulatedDma } from "./vfio/emulated-dma.ts";
export type { MigrationOps } from "./vfio/migration.ts";
