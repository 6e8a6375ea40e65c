/**
 * The PCI function a guest sees of an assigned device.
 *
 * @module
 */
export type { AssignOptions } from "./assign-options.ts";
export { AssignedFunction } from "./assigned-function.ts";
export type { BarArea, BarPlan } from "./bar-areas.ts";
export type { FunctionEvent } from "./events.ts";
export type { AssignableDevice, HotResetMember } from "./hardware.ts";
export type { IdentityOverrides } from "./identity.ts";
export type { InterruptMode } from "./interrupts.ts";
export { type MappableInput, mappableAreas, type Stretch } from "./msix-areas.ts";
export type { CapabilityLists, FunctionPlan, PlanInput } from "./plan.ts";
export { planFunction } from "./plan.ts";
export {
	needsSharedReset,
	type ResetMethod,
	type ResetPlan,
	type ResetReport,
	type ResetTraits,
	resetSteps,
} from "./reset.ts";
export {
	type Capability,
	type ExtendedCapability,
	type Walk,
	walkCapabilities,
	walkExtendedCapabilities,
} from "./walk.ts";
