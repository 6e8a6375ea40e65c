/**
 * Where the DMA of several devices goes: one guest's memory, or one program's.
 *
 * @module
 */

import { VfioError } from "../errors.ts";
import type { Iommu } from "../iommu/iommu.ts";
import { GuestMemoryMapper, type MapReport } from "../iommu/memory-map.ts";
import type { Kernel } from "../kernel.ts";
import type { KvmFiles } from "../machine/kvm-bypass.ts";
import type { GuestMemory } from "../machine/machine.ts";
import { Container } from "./container.ts";
import type { Group } from "./group.ts";

/** Options of {@link IoAddressSpace}. */
export interface IoAddressSpaceOptions {
	/** What is mapped in every container; a program that maps its own buffers leaves it out. */
	readonly memory?: GuestMemory;
	/** Learns of memory that could not be mapped after the attach, and of what was left out. */
	readonly onReport?: (report: MapReport) => void;
	/** Called before guest memory is pinned: see {@link MapperOptions.inhibitDiscard}. */
	readonly inhibitDiscard?: () => Disposable;
	/** KVM's VFIO device, which learns of each group while that is in the address space. */
	readonly kvm?: KvmFiles;
}

/**
 * An I/O address space. Groups share a container where the kernel lets them, since every container pins and maps all of
 * memory again; a group that none of the containers takes gets a new one, with the same memory mapped.
 *
 * @example
 * ```ts
 * const space = new IoAddressSpace(kernel, { memory: machine.memory });
 * const nvme = VfioDevice.open(kernel, "05:00.0", { addressSpace: space });
 * const network = VfioDevice.open(kernel, "06:00.0", { addressSpace: space }); // the same container
 * ```
 */
export class IoAddressSpace {
	readonly #kernel: Kernel;
	readonly #options: IoAddressSpaceOptions;
	readonly #containers: Container[] = [];

	constructor(kernel: Kernel, options: IoAddressSpaceOptions = {}) {
		this.#kernel = kernel;
		this.#options = options;
	}

	/** The containers that have a group at this moment. */
	get containers(): readonly Container[] {
		return this.#containers.filter((container) => container.groups.size > 0);
	}

	/** Where DMA goes: one for each of the containers. Each has all of the memory. */
	get iommus(): readonly Iommu[] {
		return this.containers.map((container) => container.iommu);
	}

	/**
	 * Puts a group into the first container that takes it, or into a new one. {@link VfioDevice.open} calls it.
	 *
	 * @param device whom it is for, for errors
	 * @throws VfioError as {@link Container.attach}, and as {@link GuestMemoryMapper.attach}
	 */
	place(group: Group, device: string): Container {
		const container = this.#place(group, device);
		this.#tellKvm(group, device);
		return container;
	}

	#tellKvm(group: Group, device: string): void {
		const { kvm } = this.#options;
		if (!kvm) return;
		try {
			kvm.addFile(group.fd);
		} catch (cause) {
			throw new VfioError("kernel", `Cannot open ${device}: KVM does not take its group: ${(cause as Error).message}`, {
				device,
				cause,
			});
		}
		group.use({ [Symbol.dispose]: () => kvm.removeFile(group.fd) });
	}

	#place(group: Group, device: string): Container {
		const containers = this.containers;
		for (const container of containers) {
			try {
				group.join(container, device);
				return container;
			} catch (error) {
				// A container may be of another kind of IOMMU, or have mappings that this group's cannot take. When the group
				// itself is the trouble, a new container says so.
				if (!(error instanceof VfioError)) throw error;
			}
		}
		const container = Container.open(this.#kernel);
		try {
			group.join(container, device);
			if (this.#options.memory)
				GuestMemoryMapper.attach(container.iommu, this.#options.memory, {
					device,
					...(this.#options.onReport ? { onReport: this.#options.onReport } : {}),
					...(this.#options.inhibitDiscard ? { inhibitDiscard: this.#options.inhibitDiscard } : {}),
				});
			this.#containers.splice(0, this.#containers.length, ...containers, container);
			return container;
		} finally {
			container[Symbol.dispose](); // the group keeps it from here on
		}
	}
}
