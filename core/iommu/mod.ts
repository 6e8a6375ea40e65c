/**
 * DMA: from guest memory to the mappings of an I/O address space.
 *
 * @module
 */

export type { BoundDevice } from "./bound-device.ts";
export type { DirtyTracking } from "./dirty-tracking.ts";
export type { Interval } from "./interval-map.ts";
export { Ioas, type IoasAttachment } from "./ioas.ts";
export type { DmaAccess, DmaMapping, Iommu, IommuBackend, IommuInfo, IovaRange } from "./iommu.ts";
export { Iommufd, type IommuHardware } from "./iommufd.ts";
export { type Memlock, memlock } from "./memlock.ts";
export { GuestMemoryMapper, lockedBytes, type MapperOptions, type MapReport, requireMemlock } from "./memory-map.ts";
export {
	type MappingPlan,
	type PlannedMapping,
	type PlannerLimits,
	planMappings,
	type SkippedRegions,
	type SkipReason,
} from "./planner.ts";
export type { Type1 } from "./type1.ts";
