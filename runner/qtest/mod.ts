/**
 * A machine without a processor that a script drives, in the protocol that drives a QEMU.
 *
 * @module
 */
export * from "./assembly.ts";
export * from "./machine.ts";
export * from "./protocol.ts";
export * from "./server.ts";
export * from "./session.ts";
