/**
 * The embedded guest machine.
 *
 * @module
 */
export type { SlotState } from "./console.ts";
export * from "./guest-machine.ts";
export * from "./program.ts";
