/**
 * The machine seam, and a PCI topology that a VMM can use as it is.
 *
 * @module
 */
export * from "./address-space.ts";
export * from "./bus.ts";
export * from "./decoder.ts";
export * from "./host-bridge.ts";
export type { HotPlug } from "./hot-plug.ts";
export type * from "./hot-plug-event.ts";
export { PIN_COUNT, swizzle } from "./intx.ts";
export type * from "./kvm-bypass.ts";
export * from "./machine.ts";
export type {
	GuestPlatformDevice,
	GuestPlatformInterrupt,
	GuestPlatformRegion,
	PlatformLine,
	PlatformSlot,
} from "./platform.ts";
export { PlatformBus, type PlatformBusOptions, type PlatformPlacement } from "./platform-bus.ts";
export * from "./root-bus.ts";
export * from "./root-port.ts";
export type { RootPortIdentity } from "./root-port-registers.ts";
export * from "./slot-address.ts";
export * from "./topology.ts";
export * from "./window-room.ts";
