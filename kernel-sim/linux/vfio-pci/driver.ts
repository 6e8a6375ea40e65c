/**
 * The driver vfio-pci: takes devices that it was told to take, and offers them to VFIO.
 *
 * @module
 */
import { EBUSY, EINVAL, ENOENT } from "../../../core/uapi/errno.ts";
import { PCI_HEADER_TYPE_NORMAL } from "../../../core/uapi/pci_regs.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { PciDevice, PciDriver } from "../driver.ts";
import { andThen, type Sleep } from "../sleep.ts";
import type { Vfio } from "../vfio/core.ts";
import { VfioPciDevice } from "./device.ts";
import type { VfioPciOptions } from "./options.ts";

const INTEL = 0x8086;
/** Accelerators that a user could make damage the host: QuickAssist C3xxx, C62x and DH895xCC, DSA and IAX. */
const DENYLIST: ReadonlySet<number> = new Set([0x19e2, 0x19e3, 0x37c8, 0x37c9, 0x0435, 0x0443, 0x0b25, 0x0cfe]);

/**
 * The driver vfio-pci. Its own table has no device: it is bound by `driver_override` or through `new_id`.
 *
 * @example
 * ```ts
 * const { machine, parameters, vfio } = linux;
 * linux.pci.addDriver(new VfioPciDriver({ machine, version: "6.12", parameters }, vfio));
 * ```
 */
export class VfioPciDriver implements PciDriver {
	readonly name = "vfio-pci";
	readonly managesDma = true;
	readonly keepsVirtualFunctions = true;
	readonly #options: VfioPciOptions;
	readonly #vfio: Vfio;
	readonly #devices = new Map<PciFunction, VfioPciDevice>();

	constructor(options: VfioPciOptions, vfio: Vfio) {
		this.#options = options;
		this.#vfio = vfio;
	}

	/** The devices it has. */
	get devices(): ReadonlyMap<PciFunction, VfioPciDevice> {
		return this.#devices;
	}

	matches(): boolean {
		return false;
	}

	/** @returns 0; -EINVAL for bridges, devices without an IOMMU, unless no-IOMMU mode is on, and denylisted ones; -EBUSY while it has virtual functions */
	probe(device: PciDevice): number {
		const allowed = this.#options.parameters.flag("vfio_pci", "disable_denylist");
		if (device.vendor === INTEL && DENYLIST.has(device.device) && !allowed) return -EINVAL;
		if (device.headerType !== PCI_HEADER_TYPE_NORMAL) return -EINVAL;
		if ((device.virtualFunctions?.count ?? 0) > 0) return -EBUSY;
		const group = device.group ?? this.#options.noIommu?.add(device);
		if (!group) return -EINVAL;
		const bound = new VfioPciDevice(device, this.#options, this.#devices);
		const answer = this.#vfio.register(bound, group);
		if (answer < 0) return answer;
		bound.record = this.#vfio.device(bound);
		this.#devices.set(device.fn, bound);
		device.driverData = bound;
		return 0;
	}

	remove(device: PciDevice): number | Sleep {
		const bound = this.#devices.get(device.fn);
		if (!bound) return 0;
		return andThen(device.virtualFunctions?.disable() ?? 0, () =>
			andThen(this.#vfio.unregister(bound), () => {
				this.#devices.delete(device.fn);
				if (device.group?.noIommu) this.#options.noIommu?.remove(device, device.group);
				return 0;
			}),
		);
	}

	configureVirtualFunctions(device: PciDevice, count: number): number | Sleep {
		const { virtualFunctions } = device;
		if (!this.#options.parameters.flag("vfio_pci", "enable_sriov") || !virtualFunctions) return -ENOENT;
		return count === 0 ? virtualFunctions.disable() : virtualFunctions.enable(count);
	}
}
