/**
 * Back doors of devices, and who watches over them.
 *
 * @module
 */
export { type ConfigMirror, configMirror } from "./mirror.ts";
export type { BarQuirk, DeviceQuirk, QuirkHost, QuirkPlace, QuirkStretch } from "./quirk.ts";
export { QUIRKS } from "./registry.ts";
export { type ConfigWindow, configWindow } from "./window.ts";
