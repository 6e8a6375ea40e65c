/** USB host controllers, and a device for their ports. @module */
export type { UsbDevice, UsbHandshake, UsbSpeed } from "./device.ts";
export { Ehci, type EhciOptions } from "./ehci.ts";
export { LoopbackDevice } from "./loopback-device.ts";
export { Uhci, type UhciOptions } from "./uhci.ts";
