/**
 * Where regions are in a device's file: the same for all drivers.
 *
 * @module
 */

/** Bytes between one region and the next. */
export const REGION_STRIDE = 2 ** 40;
