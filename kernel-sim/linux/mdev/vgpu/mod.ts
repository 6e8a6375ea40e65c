/**
 * A driver of virtual GPUs, in sizes: what a vendor's mediated driver does, without the hardware behind it.
 *
 * @module
 */
import { ENOSPC } from "../../../../core/uapi/errno.ts";
import type { MediatedDriver } from "../driver.ts";
import { mediatedPciDevice } from "../pci/device.ts";
import { FRAME_BUFFER, Vgpu } from "./vgpu.ts";

export { COMMAND_SIZE, COMMANDS, FRAME_BUFFER, VGPU, Vgpu } from "./vgpu.ts";

const MEBIBYTE = 1 << 20;
/** MiB of frame buffer, by type. */
const SIZES: Readonly<Record<string, number>> = { small: 1, medium: 4, large: 16 };
/** MiB that there are for all devices together. */
const MEMORY = 32;

/**
 * The driver `vgpu`, with its types `vgpu-small`, `vgpu-medium` and `vgpu-large`: a memory BAR with registers that are
 * trapped and a frame buffer that is mapped, MSI and INTx, DMA through pinned pages. The types share 32 MiB.
 *
 * @example
 * ```ts
 * const linux = new SimulatedLinux({ host: Host.reference(), mediated: [vgpu()] });
 * const types = "/sys/class/mdev_bus/vgpu/mdev_supported_types";
 * linux.process().writeFile(`${types}/vgpu-medium/create`, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
 * ```
 */
export function vgpu(): MediatedDriver {
	let left = MEMORY;
	return {
		name: "vgpu",
		types: Object.entries(SIZES).map(([name, size]) => ({
			name,
			description: `virtual GPU, ${size} MiB frame buffer`,
			available: () => Math.floor(left / size),
			create(context) {
				if (left < size) return -ENOSPC;
				left -= size;
				const bytes = size * MEBIBYTE;
				const device = mediatedPciDevice(context, {
					description: Vgpu.description(bytes),
					model: new Vgpu(bytes),
					mappable: { 0: [{ offset: FRAME_BUFFER, size: bytes }] },
				});
				const remove = device.remove?.bind(device);
				device.remove = () => {
					left += size;
					remove?.();
				};
				return device;
			},
		})),
	};
}
