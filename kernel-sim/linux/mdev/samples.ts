/**
 * The drivers of mediated devices that ship.
 *
 * @module
 */
import { Edu } from "../../hardware/models/edu.ts";
import type { MediatedDriver } from "./driver.ts";
import { mtty } from "./mtty/mod.ts";
import { mediatedPciDevice } from "./pci/device.ts";
import { vgpu } from "./vgpu/mod.ts";

/** How many teaching devices there can be. */
const TEACHING_DEVICES = 4;

/**
 * A driver of each kind that ships: `mtty-1` and `mtty-2`, `vgpu-small`, `vgpu-medium` and `vgpu-large`, and `teaching-edu`,
 * which is QEMU's teaching device without hardware behind it.
 *
 * @returns drivers of their own for each kernel, since they count what is left
 * @example
 * ```ts
 * const linux = new SimulatedLinux({ host: Host.reference(), mediated: mediatedSamples() });
 * linux.process().readDirectory("/sys/class/mdev_bus"); // ["mtty", "teaching", "vgpu"]
 * ```
 */
export function mediatedSamples(): MediatedDriver[] {
	const teaching: MediatedDriver = {
		name: "teaching",
		instances: TEACHING_DEVICES,
		types: [
			{
				name: "edu",
				description: "the educational device, with a DMA engine of 4096 bytes",
				create: (context) => mediatedPciDevice(context, { description: Edu.description(), model: new Edu() }),
			},
		],
	};
	return [mtty(), teaching, vgpu()];
}
