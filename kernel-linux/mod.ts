/**
 * The real kernel: VFIO of the Linux this process runs on, through koffi.
 *
 * @module
 */
export { LinuxKernel } from "./linux-kernel.ts";
