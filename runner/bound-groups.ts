import { parsePciAddress } from "../core/host/address.ts";
import { type BoundGroup, bindGroup } from "../core/host/bind.ts";
import { groupOf } from "../core/host/groups.ts";
import { locate } from "../core/host/location.ts";
import { PciSysfs } from "../core/host/sysfs.ts";
import type { Kernel } from "../core/kernel.ts";
import type { AssignedReference } from "./cli/device-option.ts";

/** The IOMMU groups that are with vfio-pci for a machine's sake, each for as long as one of its devices is in there. */
export class BoundGroups {
	readonly #kernel: Kernel;
	readonly #onBound: (group: BoundGroup) => void;
	readonly #groups = new Map<number, { readonly bound: BoundGroup; users: number }>();

	/** @param onBound learns of each group that was given to vfio-pci */
	constructor(kernel: Kernel, onBound: (group: BoundGroup) => void = () => {}) {
		this.#kernel = kernel;
		this.#onBound = onBound;
	}

	/**
	 * Gives the group of a PCI function to vfio-pci. What is no PCI function, or has been opened by somebody else, is with
	 * its VFIO driver already.
	 *
	 * @returns dispose it, after the device was closed: with the last one the group goes back to the drivers it had
	 * @throws VfioError as `bindGroup`
	 */
	hold(reference: AssignedReference): Disposable {
		const address = pciAddressOf(this.#kernel, reference);
		if (address === undefined) return { [Symbol.dispose]: () => {} };
		const number = groupOf(this.#kernel, address);
		let entry = this.#groups.get(number);
		if (entry === undefined) {
			entry = { bound: bindGroup(this.#kernel, address), users: 0 };
			this.#groups.set(number, entry);
			this.#onBound(entry.bound);
		}
		const held = entry;
		held.users++;
		let released = false;
		return {
			[Symbol.dispose]: () => {
				if (released) return;
				released = true;
				if (--held.users > 0) return;
				this.#groups.delete(number);
				held.bound[Symbol.dispose]();
			},
		};
	}
}

/** The address of a PCI function, by whichever path it was named; undefined for anything else. */
export function pciAddressOf(kernel: Kernel, reference: AssignedReference): string | undefined {
	if ("host" in reference) return reference.host;
	if (!("sysfsdev" in reference)) return undefined;
	const { name } = locate(reference);
	try {
		parsePciAddress(name);
	} catch {
		return undefined;
	}
	return new PciSysfs(kernel).exists(name) ? name : undefined;
}
