/**
 * Drivers that hold a device and do nothing with it: what this Linux has instead of nvme, e1000e or pcieport.
 *
 * @module
 */
import { PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from "../../core/uapi/pci_regs.ts";
import type { PciDevice, PciDriver, PciIdentity } from "./driver.ts";
import { idMatches, PCI_ANY_ID, type PciDeviceId } from "./dynamic-id.ts";

/** What distinguishes one native driver from another. */
export interface NativeDriverOptions {
	readonly name: string;
	/** Its table of devices. */
	readonly ids: readonly PciDeviceId[];
	/** It does no DMA with the kernel's mappings, so it does not own the group. */
	readonly managesDma?: boolean;
	/** It leaves the device as it is. */
	readonly passive?: boolean;
}

/** An id that matches by class. @param mask which bits of the 24 count */
export function classId(deviceClass: number, mask: number): PciDeviceId {
	const any = { vendor: PCI_ANY_ID, device: PCI_ANY_ID, subvendor: PCI_ANY_ID, subdevice: PCI_ANY_ID };
	return { ...any, class: deviceClass, classMask: mask };
}

/** Drivers every Linux has. Those that a host names beyond them are made for the devices it names them for. */
export const BUILT_IN_DRIVERS: readonly NativeDriverOptions[] = [
	{
		name: "pcieport",
		ids: [classId(0x060400, 0xffffff), classId(0x060401, 0xffffff)],
		managesDma: true,
		passive: true,
	},
	{ name: "pci-stub", ids: [], managesDma: true, passive: true },
	{ name: "nvme", ids: [classId(0x010802, 0xffffff)] },
	{ name: "ahci", ids: [classId(0x010601, 0xffffff)] },
	{ name: "xhci_hcd", ids: [classId(0x0c0330, 0xffffff)] },
];

/** A driver that enables its device and lets it be a bus master while it has it. */
export class NativeDriver implements PciDriver {
	readonly name: string;
	readonly managesDma: boolean;
	readonly #ids: readonly PciDeviceId[];
	readonly #passive: boolean;

	constructor(options: NativeDriverOptions) {
		this.name = options.name;
		this.managesDma = options.managesDma ?? false;
		this.#ids = options.ids;
		this.#passive = options.passive ?? false;
	}

	matches(device: PciIdentity): boolean {
		return this.#ids.some((id) => idMatches(id, device));
	}

	probe(device: PciDevice): number {
		if (this.#passive) return 0;
		device.enableCount++;
		const decoding = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
		const command = device.fn.configRead(PCI_COMMAND, 2);
		device.fn.configWrite(PCI_COMMAND, 2, command | decoding | PCI_COMMAND_MASTER);
		return 0;
	}

	remove(device: PciDevice): number {
		if (this.#passive) return 0;
		device.enableCount--;
		const command = device.fn.configRead(PCI_COMMAND, 2);
		device.fn.configWrite(PCI_COMMAND, 2, command & ~PCI_COMMAND_MASTER);
		return 0;
	}
}
