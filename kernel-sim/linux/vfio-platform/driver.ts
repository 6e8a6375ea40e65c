/**
 * The driver vfio-platform: takes platform devices that it was told to take, and offers them to VFIO.
 *
 * @module
 */
import { EINVAL, ENOENT } from "../../../core/uapi/errno.ts";
import type { PlatformBusDevice, PlatformDriver } from "../platform/device.ts";
import { andThen, type Sleep } from "../sleep.ts";
import type { Vfio } from "../vfio/core.ts";
import { VfioPlatformDevice, type VfioPlatformOptions } from "./device.ts";

/** The driver vfio-platform. It is bound by `driver_override` only. */
export class VfioPlatformDriver implements PlatformDriver {
	readonly name = "vfio-platform";
	readonly managesDma = true;
	readonly compatible: readonly string[] = [];
	readonly #options: VfioPlatformOptions;
	readonly #vfio: Vfio;
	readonly #devices = new Map<PlatformBusDevice, VfioPlatformDevice>();

	constructor(options: VfioPlatformOptions, vfio: Vfio) {
		this.#options = options;
		this.#vfio = vfio;
	}

	/** The devices it has. */
	get devices(): ReadonlyMap<PlatformBusDevice, VfioPlatformDevice> {
		return this.#devices;
	}

	/** @returns 0; -EINVAL without `compatible`, or without an IOMMU unless no-IOMMU mode is on; -ENOENT without the reset that is required */
	probe(device: PlatformBusDevice): number {
		if (device.compatible.length === 0) return -EINVAL;
		const bound = new VfioPlatformDevice(device, this.#options);
		if (!bound.reset && bound.resetRequired) return -ENOENT;
		const group = device.group ?? this.#options.noIommu?.add(device);
		if (!group) return -EINVAL;
		const answer = this.#vfio.register(bound, group);
		if (answer < 0) return answer;
		this.#devices.set(device, bound);
		device.driverData = bound;
		return 0;
	}

	remove(device: PlatformBusDevice): number | Sleep {
		const bound = this.#devices.get(device);
		if (!bound) return 0;
		return andThen(this.#vfio.unregister(bound), () => {
			this.#devices.delete(device);
			if (device.group?.noIommu) this.#options.noIommu?.remove(device, device.group);
			return 0;
		});
	}
}
