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
export {
	type MachineResetPlan,
	type MachineResetReport,
	type MachineResettable,
	planMachineReset,
	resetMachine,
	type SharedReset,
	type SharedResetCandidate,
} from "./machine-reset.ts";
export { type MappableInput, mappableAreas, type Stretch } from "./msix-areas.ts";
export type { BarPlace, MsixCapability } from "./msix-capability.ts";
export { type MsixRelocation, type RelocatedMsix, relocateMsix } from "./msix-relocation.ts";
export { type PeerFunction, PeerMemory } from "./peer-memory.ts";
export type { CapabilityLists, FunctionPlan, PlanInput } from "./plan.ts";
export { planFunction } from "./plan.ts";
export { ASSIGN_PROPERTIES, assignOptions } from "./properties.ts";
export * from "./quirks/mod.ts";
export { type RequestAction, type RequestPolicy, requestAction } from "./request-policy.ts";
export {
	needsSharedReset,
	type ResetMethod,
	type ResetMethodInfo,
	type ResetOutcome,
	type ResetPlan,
	type ResetReport,
	type ResetStep,
	type ResetTraits,
	resetSteps,
} from "./reset.ts";
export type { FunctionState } from "./snapshot.ts";
export {
	type Capability,
	type ExtendedCapability,
	type Walk,
	walkCapabilities,
	walkExtendedCapabilities,
} from "./walk.ts";
