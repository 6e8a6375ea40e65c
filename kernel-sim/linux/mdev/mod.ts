/**
 * Mediated devices: the mdev bus, and what it takes to write a device for it.
 *
 * @module
 */
export type { MdevBus, MdevBusListener } from "./bus.ts";
export type { MediatedDriver, MediatedType } from "./driver.ts";
export type { MdevDevice } from "./mdev-device.ts";
export type { MediatedContext, MediatedDevice } from "./mediated-device.ts";
export { mtty } from "./mtty/mod.ts";
export { type MediatedPciOptions, mediatedPciDevice } from "./pci/device.ts";
export type { MappableArea } from "./pci/region-info.ts";
export { mediatedSamples } from "./samples.ts";
export {
	COMMAND_SIZE as VGPU_COMMAND_SIZE,
	COMMANDS as VGPU_COMMANDS,
	FRAME_BUFFER as VGPU_FRAME_BUFFER,
	VGPU,
	Vgpu,
	vgpu,
} from "./vgpu/mod.ts";
