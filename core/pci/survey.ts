/**
 * Asking a device for everything that planning it needs.
 *
 * @module
 */
import { allOnes, load } from "../bytes.ts";
import { VfioError } from "../errors.ts";
import type { PciSlot } from "../machine/machine.ts";
import { PCI_CFG_SPACE_EXP_SIZE } from "../uapi/pci_regs.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_ROM_REGION_INDEX } from "../uapi/vfio.ts";
import type { AssignOptions, CheckedOptions } from "./assign-options.ts";
import type { AssignableDevice } from "./hardware.ts";
import { type FunctionLayout, layoutFunction, type PlanInput } from "./plan.ts";
import { probeRomSize } from "./rom.ts";
import { isDenied } from "./rom-image.ts";

/** What a device answered, without where it will be put. */
export type Survey = Omit<PlanInput, "bus" | "multifunction">;

/**
 * Reads regions, interrupts and configuration space.
 *
 * @throws VfioError `malformed-config-space` when configuration space cannot be read; `kernel`
 */
export function surveyDevice(device: AssignableDevice, options: CheckedOptions): Survey {
	const { name } = device;
	const regions = [];
	for (let index = 0; index <= VFIO_PCI_ROM_REGION_INDEX; index++) regions.push(device.region(index));
	const irqs = [];
	for (let index = 0; index <= VFIO_PCI_MSIX_IRQ_INDEX; index++) irqs.push(device.irq(index));
	const size = Math.min(device.region(VFIO_PCI_CONFIG_REGION_INDEX).size, PCI_CFG_SPACE_EXP_SIZE);
	const config = new Uint8Array(size);
	const read = device.readBytes(VFIO_PCI_CONFIG_REGION_INDEX, 0, config);
	if (read < size)
		throw new VfioError(
			"malformed-config-space",
			`Cannot assign ${name}: only ${read} of the ${size} bytes of its configuration space could be read`,
			{ device: name },
		);
	const answers = size > 0 && load(config, 0, 4) !== allOnes(4);
	return {
		config,
		regions,
		irqs,
		pageSize: options.pageSize,
		mmap: options.mmap !== false,
		romSize: answers ? romSize(device, config, options) : 0,
		...(options.ids ? { ids: options.ids } : {}),
		...(options.msixRelocation ? { msixRelocation: options.msixRelocation } : {}),
		...(options.gpuDirectClique === undefined ? {} : { gpuDirectClique: options.gpuDirectClique }),
		...(options.vga ? { vga: true } : {}),
		...(options.quirks ? { quirks: options.quirks } : {}),
	};
}

function romSize(device: AssignableDevice, config: Uint8Array, { rom, romFile }: AssignOptions): number {
	if (rom === false) return 0;
	if (romFile) return romFile.length;
	return rom === undefined && isDenied(config) ? 0 : probeRomSize(device);
}

/**
 * Plans the function for a bus.
 *
 * @throws VfioError `unassignable-device`, `malformed-msix` or `malformed-config-space`, when it cannot be assigned
 */
export function layoutFor(
	device: Pick<AssignableDevice, "name">,
	survey: Survey,
	options: AssignOptions,
	slot: Pick<PciSlot, "bus" | "multifunction">,
): FunctionLayout {
	const layout = layoutFunction({
		...survey,
		bus: slot.bus,
		multifunction: options.multifunction ?? slot.multifunction,
	});
	const { refusal } = layout.plan;
	if (refusal)
		throw new VfioError(refusal.code, `Cannot assign ${device.name}: ${refusal.reason}`, { device: device.name });
	return layout;
}
