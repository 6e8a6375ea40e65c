/**
 * The embedded guest machine.
 *
 * @module
 */
export * from "./guest-machine.ts";
export * from "./program.ts";
