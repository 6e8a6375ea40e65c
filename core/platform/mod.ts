/** Platform devices: those without a bus to be found on. @module */
export * from "./device-tree/mod.ts";
