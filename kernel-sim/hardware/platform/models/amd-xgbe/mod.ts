/** AMD's 10 Gb Ethernet controller. @module */
export { AmdXgbe, type AmdXgbeOptions, type AmdXgbePlace } from "./amd-xgbe.ts";
