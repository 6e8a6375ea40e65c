/**
 * Drivers that hold a device and do nothing with it: what this Linux has instead of nvme, e1000e or pcieport.
 *
 * @module
 */
import { ENOENT } from "../../core/uapi/errno.ts";
import { PCI_COMMAND, PCI_COMMAND_MASTER } from "../../core/uapi/pci_regs.ts";
import type { PciDevice, PciDriver, PciIdentity } from "./driver.ts";
import { idMatches, PCI_ANY_ID, type PciDeviceId } from "./dynamic-id.ts";
import { decodingOf } from "./pci-resources.ts";
import { andThen, type Sleep } from "./sleep.ts";

/** What distinguishes one native driver from another. */
export interface NativeDriverOptions {
	readonly name: string;
	/** Its table of devices. */
	readonly ids: readonly PciDeviceId[];
	/** It does no DMA with the kernel's mappings, so it does not own the group. */
	readonly managesDma?: boolean;
	/** It leaves the device as it is. */
	readonly passive?: boolean;
	/** It makes virtual functions of a physical one. */
	readonly virtualFunctions?: {
		/** How many it is ready for, where that is fewer than there can be. */
		readonly limit?: number;
		/** They outlast it. */
		readonly stay?: boolean;
	};
}

/** An id that matches by class. @param mask which bits of the 24 count */
export function classId(deviceClass: number, mask: number): PciDeviceId {
	const any = { vendor: PCI_ANY_ID, device: PCI_ANY_ID, subvendor: PCI_ANY_ID, subdevice: PCI_ANY_ID };
	return { ...any, class: deviceClass, classMask: mask };
}

/** The adapters with an 82576, which can have virtual functions. */
const INTEL_82576: readonly number[] = [0x10c9, 0x10e6, 0x10e7, 0x10e8, 0x1518, 0x1526, 0x150a, 0x150d];

function intelId(device: number): PciDeviceId {
	return { vendor: 0x8086, device, subvendor: PCI_ANY_ID, subdevice: PCI_ANY_ID, class: 0, classMask: 0 };
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
	{
		name: "e1000",
		ids: [{ vendor: 0x8086, device: 0x100e, subvendor: PCI_ANY_ID, subdevice: PCI_ANY_ID, class: 0, classMask: 0 }],
	},
	{ name: "igb", ids: INTEL_82576.map(intelId), virtualFunctions: { limit: 7 } },
	{ name: "nvme", ids: [classId(0x010802, 0xffffff)], virtualFunctions: { stay: true } },
	{ name: "ahci", ids: [classId(0x010601, 0xffffff)] },
	{ name: "xhci_hcd", ids: [classId(0x0c0330, 0xffffff)] },
];

/** Other drivers that make virtual functions. */
const MAKES_VIRTUAL_FUNCTIONS: ReadonlyMap<string, NonNullable<NativeDriverOptions["virtualFunctions"]>> = new Map([
	["ixgbe", { limit: 63 }],
	["i40e", {}],
	["ice", {}],
	["mlx5_core", {}],
	["bnxt_en", {}],
	["virtio-pci", {}],
]);

/** A driver of which only the name and the devices are known. */
export function namedDriver(name: string, ids: readonly PciDeviceId[]): NativeDriver {
	const virtualFunctions = MAKES_VIRTUAL_FUNCTIONS.get(name);
	return new NativeDriver({ name, ids, ...(virtualFunctions ? { virtualFunctions } : {}) });
}

/** A driver that enables its device and lets it be a bus master while it has it. */
export class NativeDriver implements PciDriver {
	readonly name: string;
	readonly managesDma: boolean;
	readonly #ids: readonly PciDeviceId[];
	readonly #passive: boolean;
	readonly #virtualFunctions: NativeDriverOptions["virtualFunctions"];

	constructor(options: NativeDriverOptions) {
		this.name = options.name;
		this.managesDma = options.managesDma ?? false;
		this.#ids = options.ids;
		this.#passive = options.passive ?? false;
		this.#virtualFunctions = options.virtualFunctions;
	}

	matches(device: PciIdentity): boolean {
		return this.#ids.some((id) => idMatches(id, device));
	}

	probe(device: PciDevice): number {
		if (this.#passive) return 0;
		device.enableCount++;
		device.claims.claimAll();
		const command = device.fn.configRead(PCI_COMMAND, 2);
		device.fn.configWrite(PCI_COMMAND, 2, command | decodingOf(device.fn) | PCI_COMMAND_MASTER);
		if (device.virtualFunctions) device.virtualFunctions.limit = this.#virtualFunctions?.limit;
		return 0;
	}

	remove(device: PciDevice): number | Sleep {
		if (this.#passive) return 0;
		const gone = this.#virtualFunctions?.stay ? 0 : (device.virtualFunctions?.disable() ?? 0);
		return andThen(gone, () => this.#leave(device));
	}

	configureVirtualFunctions(device: PciDevice, count: number): number | Sleep {
		const { virtualFunctions } = device;
		if (!this.#virtualFunctions || !virtualFunctions) return -ENOENT;
		return count === 0 ? virtualFunctions.disable() : virtualFunctions.enable(count);
	}

	#leave(device: PciDevice): number {
		device.enableCount--;
		device.claims.release();
		if (device.virtualFunctions) device.virtualFunctions.limit = undefined;
		const command = device.fn.configRead(PCI_COMMAND, 2);
		device.fn.configWrite(PCI_COMMAND, 2, command & ~PCI_COMMAND_MASTER);
		return 0;
	}
}
