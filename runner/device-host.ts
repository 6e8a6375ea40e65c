import { VfioDevice } from "../core/device/device.ts";
import { IoAddressSpace } from "../core/device/io-address-space.ts";
import { VfioError } from "../core/errors.ts";
import type { Kernel } from "../core/kernel.ts";
import type { GuestMemory } from "../core/machine/machine.ts";
import type { PciTopology, Placement } from "../core/machine/topology.ts";
import { AssignedFunction } from "../core/pci/assigned-function.ts";
import { Releases } from "../core/release.ts";
import { type DeviceOption, referenceName } from "./cli/device-option.ts";
import type { IommufdObjects } from "./iommufd-objects.ts";

/** What a {@link DeviceHost} works with. */
export interface DeviceHostOptions {
	readonly kernel: Kernel;
	/** What DMA reaches. */
	readonly memory: GuestMemory;
	/** Where functions are plugged in. */
	readonly topology: PciTopology;
	/** What `iommufd=` of a device means; it is disposed after the devices. */
	readonly iommufds?: IommufdObjects;
	/** Learns of what goes wrong without an end to everything. */
	readonly onReport?: (message: string) => void;
}

/** A device that is open and can be plugged in; disposing it closes it. */
export interface OpenedDevice extends Disposable {
	readonly device: VfioDevice;
	readonly function: AssignedFunction;
}

/** A device that is in the machine; disposing it takes it out and closes it. */
export interface AssignedDevice extends OpenedDevice {
	readonly placement: Placement;
}

/** Opens devices and plugs them into a machine: when it is built, and while it runs. */
export class DeviceHost {
	readonly #options: DeviceHostOptions;
	readonly #addressSpace: IoAddressSpace;

	constructor(options: DeviceHostOptions) {
		this.#options = options;
		const { kernel, memory, onReport } = options;
		this.#addressSpace = new IoAddressSpace(kernel, {
			memory,
			...(onReport ? { onReport: ({ error }) => onReport(error.message) } : {}),
		});
	}

	/** What is mapped for DMA at this moment, of the devices that are in the machine. */
	get mappings(): { readonly start: bigint; readonly size: bigint }[] {
		return this.#addressSpace.iommus.flatMap((iommu) => [...iommu.mappings]);
	}

	/**
	 * Opens a device, maps the machine's memory for its DMA and plugs it in, before the guest starts. When a step fails, what
	 * the earlier ones took is given back.
	 *
	 * @param onAttached gets the function before the guest can see it
	 * @throws VfioError as {@link open} and `PciTopology.plug`
	 */
	assign(option: DeviceOption, onAttached?: (fn: AssignedFunction) => void): AssignedDevice {
		const { topology } = this.#options;
		const releases = new Releases();
		try {
			const opened = releases.use(this.open(option, onAttached));
			const { bus, addr: address, multifunction } = option;
			const placement = topology.plug(opened.function, { bus, address, multifunction });
			releases.defer(() => topology.unplug(opened.function));
			const held = releases.move();
			return { ...opened, placement, [Symbol.dispose]: () => held[Symbol.dispose]() };
		} finally {
			releases[Symbol.dispose]();
		}
	}

	/**
	 * The same without plugging it in.
	 *
	 * @throws VfioError as `VfioDevice.open` and `AssignedFunction.attach`
	 */
	open(option: DeviceOption, onAttached: (fn: AssignedFunction) => void = () => {}): OpenedDevice {
		const { onReport } = this.#options;
		const releases = new Releases();
		try {
			const device = releases.use(this.#open(option));
			const fn = releases.use(AssignedFunction.attach(device, { ...option.assign, ...(onReport ? { onReport } : {}) }));
			onAttached(fn);
			const held = releases.move();
			return { device, function: fn, [Symbol.dispose]: () => held[Symbol.dispose]() };
		} finally {
			releases[Symbol.dispose]();
		}
	}

	#open({ kind, reference, iommufd, vfToken, discardAllowed }: DeviceOption): VfioDevice {
		const name = referenceName(reference);
		if (kind !== "vfio-pci")
			throw new VfioError(
				"unassignable-device",
				`Cannot plug ${name} in: this machine is a PC, which has no bus for ${kind}`,
				{
					device: name,
					remedy: [
						`vfio-ts plan -device ${kind},host=${name} shows what assigning it would do, with its device tree node.`,
						"A program assigns it to a machine of its own: PlatformDevice.attach and PlatformBus of vfio-ts.",
					],
				},
			);
		const { kernel, iommufds, onReport } = this.#options;
		if (iommufd !== undefined && !iommufds)
			throw new VfioError("invalid-argument", `Cannot open ${name}: there is no iommufd "${iommufd}"`, {
				device: name,
			});
		return VfioDevice.open(kernel, reference, {
			addressSpace: this.#addressSpace,
			...(iommufd !== undefined && iommufds ? { iommufd: iommufds.get(iommufd) } : {}),
			...(vfToken === undefined ? {} : { vfToken }),
			...(discardAllowed === undefined ? {} : { discardAllowed }),
			...(onReport ? { onReport } : {}),
		});
	}
}
