/**
 * A simulated Linux with VFIO.
 *
 * @module
 */
export { type AddressSpace, PAGE_SIZE, type PinnedMemory, ProcessMemory } from "./address-space.ts";
export { ALL_CAPABILITIES, type Capability as ProcessCapability } from "./capability.ts";
export { PciDevice, type PciDriver, type PciIdentity, type ResetMethod as DeviceResetMethod } from "./driver.ts";
export { type EventConsumer, EventFd, EventFdFile } from "./eventfd.ts";
export { type IoctlArgument, OpenFile } from "./file.ts";
export type { AttributeOptions, DeviceOpen, FileContent } from "./file-content.ts";
export { FileSystem } from "./filesystem.ts";
export { IommuGroup, type ReservedRegion } from "./iommu-group.ts";
export { type Leaks, type LinuxOptions, SimulatedLinux } from "./linux.ts";
export { NativeDriver, type NativeDriverOptions } from "./native-driver.ts";
export { ModuleParameters, type ParameterValues } from "./parameters.ts";
export { PciBus, type PciBusListener } from "./pci-bus.ts";
export { type ProcessOptions, SimProcess } from "./process.ts";
export { type MappedRegion, RegionMapping } from "./region-mapping.ts";
export { Sleep } from "./sleep.ts";
export { Container, ContainerFile } from "./vfio/container.ts";
export { Vfio } from "./vfio/core.ts";
export type { VfioDeviceOps } from "./vfio/device.ts";
export { GroupFile, VfioGroup } from "./vfio/group.ts";
export { Type1 } from "./vfio/type1.ts";
