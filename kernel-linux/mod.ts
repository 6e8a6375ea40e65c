/**
 * The real kernel: VFIO of the Linux this process runs on, through koffi.
 *
 * @module
 */
export { LinuxClock } from "./clock.ts";
export { LinuxKernel } from "./linux-kernel.ts";
