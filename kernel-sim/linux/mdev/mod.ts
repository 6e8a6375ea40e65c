/**
 * Mediated devices: the mdev bus, and what it takes to write a device for it.
 *
 * @module
 */
export { MdevBus, type MdevBusListener } from "./bus.ts";
export type { MediatedDriver, MediatedType } from "./driver.ts";
export { MdevDevice } from "./mdev-device.ts";
export type { MediatedContext, MediatedDevice } from "./mediated-device.ts";
export { mtty } from "./mtty/mod.ts";
