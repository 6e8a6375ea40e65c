/**
 * Back doors of devices, and who watches over them.
 *
 * @module
 */
export { ati } from "./ati.ts";
export { type ConfigMirror, configMirror } from "./mirror.ts";
export { geforce } from "./nvidia.ts";
export type { BarQuirk, DeviceQuirk, QuirkDevice, QuirkHost, QuirkPlace, QuirkStretch } from "./quirk.ts";
export { QUIRKS } from "./registry.ts";
export { rtl8168 } from "./rtl8168.ts";
export { type ConfigWindow, configWindow } from "./window.ts";
