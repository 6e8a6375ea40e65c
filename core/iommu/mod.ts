/**
 * DMA: from guest memory to the mappings of a container.
 *
 * @module
 */
export type { DirtyTracking } from "./dirty-tracking.ts";
export type { Interval } from "./interval-map.ts";
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
export type { DmaAccess, DmaMapping, Type1 } from "./type1.ts";
export type { IovaRange, Type1Info } from "./type1-info.ts";
