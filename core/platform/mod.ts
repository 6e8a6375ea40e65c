/** Platform devices: those without a bus to be found on. @module */
export { bindPlatformDevice, type PlatformBindPlan, planPlatformBind } from "./bind.ts";
export { describePlatformDevice } from "./describe.ts";
export * from "./device-tree/mod.ts";
export type { AssignablePlatformDevice } from "./hardware.ts";
export type { PlatformOptions } from "./options.ts";
export { PlatformDevice } from "./platform-device.ts";
export { PLATFORM_PROPERTIES, platformOptions } from "./properties.ts";
