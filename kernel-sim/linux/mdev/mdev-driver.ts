/**
 * The driver's side of the mdev bus: makes the device behind a UUID, and offers it to VFIO.
 *
 * @module
 */
import type { Clock } from "../../../core/kernel.ts";
import type { BusDriver } from "../driver-bus.ts";
import type { IommuGroup } from "../iommu-group.ts";
import { andThen, type Sleep } from "../sleep.ts";
import type { Vfio } from "../vfio/core.ts";
import type { MdevDevice } from "./mdev-device.ts";
import { VfioMediated } from "./vfio-mediated.ts";

/** What the bus's drivers need of the kernel. */
export interface MdevKernel {
	readonly vfio: Vfio;
	readonly clock: Clock;
	readonly version: "6.12" | "7.2";
	/** Makes a group for a device that no IOMMU stands before. */
	addEmulatedGroup(device: MdevDevice): IommuGroup;
	/** Removes it. */
	removeEmulatedGroup(device: MdevDevice, group: IommuGroup): void;
}

/** A driver on the mdev bus. */
export class MdevDriver implements BusDriver<MdevDevice> {
	readonly name: string;
	readonly managesDma = true;
	readonly #kernel: MdevKernel;

	constructor(name: string, kernel: MdevKernel) {
		this.name = name;
		this.#kernel = kernel;
	}

	probe(device: MdevDevice): number {
		const { clock, version, vfio } = this.#kernel;
		const made = device.type.create({ name: device.name, clock, version });
		if (typeof made === "number") return made;
		const ops = new VfioMediated(device, made);
		const group = this.#kernel.addEmulatedGroup(device);
		const answer = vfio.register(ops, group);
		if (answer < 0) {
			this.#kernel.removeEmulatedGroup(device, group);
			made.remove?.();
			return answer;
		}
		device.driverData = ops;
		return 0;
	}

	remove(device: MdevDevice): number | Sleep {
		const ops = device.driverData;
		if (!(ops instanceof VfioMediated)) return 0;
		return andThen(this.#kernel.vfio.unregister(ops), () => {
			if (device.group) this.#kernel.removeEmulatedGroup(device, device.group);
			ops.mediated.remove?.();
			return 0;
		});
	}
}
