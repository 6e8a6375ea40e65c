/**
 * The embedded guest's machine in the hands of QMP.
 *
 * @module
 */
export * from "./controlled-machine.ts";
export * from "./device-request.ts";
export * from "./endpoint.ts";
export * from "./server.ts";
