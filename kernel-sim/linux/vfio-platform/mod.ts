/**
 * vfio-platform, simulated: the driver that hands platform devices to user space.
 *
 * @module
 */
export { VfioPlatformDevice, type VfioPlatformOptions } from "./device.ts";
export { VfioPlatformDriver } from "./driver.ts";
export { InterruptNumbers } from "./interrupt-numbers.ts";
