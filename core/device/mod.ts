/**
 * An opened VFIO device, its group and its container.
 *
 * @module
 */

export { Container } from "./container.ts";
export { VfioDevice } from "./device.ts";
export { Group, type GroupOptions, type GroupStatus } from "./group.ts";
export type { HotResetDevice } from "./hot-reset.ts";
export { IoAddressSpace, type IoAddressSpaceOptions } from "./io-address-space.ts";
export { type Irq, irqName } from "./irq.ts";
export { NO_EVENTFD } from "./irq-setup.ts";
export type { DeviceKind } from "./kind.ts";
export type { OpenedBy } from "./open-file.ts";
export type { OpenOptions, PassedDevice } from "./open-options.ts";
export { type Region, type RegionType, regionName, type SparseArea } from "./region.ts";
export type { MapOptions } from "./write-combining.ts";
