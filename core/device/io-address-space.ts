/**
 * Where the DMA of several devices goes: one guest's memory, or one program's.
 *
 * @module
 */
import { VfioError } from "../errors.ts";
import type { BoundDevice } from "../iommu/bound-device.ts";
import { Ioas, type IoasAttachment } from "../iommu/ioas.ts";
import type { Iommu } from "../iommu/iommu.ts";
import type { Iommufd } from "../iommu/iommufd.ts";
import { GuestMemoryMapper, type MapReport } from "../iommu/memory-map.ts";
import type { Kernel } from "../kernel.ts";
import type { KvmFiles } from "../machine/kvm-bypass.ts";
import type { GuestMemory } from "../machine/machine.ts";
import { Releases } from "../release.ts";
import { Container } from "./container.ts";
import type { Group } from "./group.ts";

/** Options of {@link IoAddressSpace}. */
export interface IoAddressSpaceOptions {
	/** What is mapped in every container; a program that maps its own buffers leaves it out. */
	readonly memory?: GuestMemory;
	/** The first container to use, as somebody else has opened it; a new one when left out. It stays whoever's it is. */
	readonly container?: Container;
	/** Has all devices opened by their character devices, with this iommufd; each device's own choice when left out. */
	readonly iommufd?: Iommufd;
	/** BARs in guest memory are mapped, so that devices reach each other's; true when left out. */
	readonly peerToPeer?: boolean;
	/** Learns of memory that could not be mapped after the attach, and of what was left out. */
	readonly onReport?: (report: MapReport) => void;
	/**
	 * Called before guest memory is pinned; what it returns is disposed once nothing is pinned any more. Between the two, a
	 * VMM must not give back memory that the guest does not use: see {@link MapperOptions.inhibitDiscard}. Devices that are
	 * opened with `discardAllowed` do not count.
	 */
	readonly inhibitDiscard?: () => Disposable;
	/** KVM's VFIO device, which learns of each group or character device while that is in the address space. */
	readonly kvm?: KvmFiles;
}

/**
 * An I/O address space. Devices share a container, or an address space of iommufd, where the kernel lets them, since each
 * of these pins and maps all of memory again; a device that none of them takes gets a new one, with the same memory mapped.
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
	#containers: Container[] = [];
	#ioases: Ioas[] = [];
	/** Devices that may have guest memory pinned. */
	#holders = 0;
	#inhibitor: Disposable | undefined;

	constructor(kernel: Kernel, options: IoAddressSpaceOptions = {}) {
		this.#kernel = kernel;
		this.#options = options;
	}

	/** The containers that have a group at this moment. */
	get containers(): readonly Container[] {
		return this.#containers.filter((container) => container.groups.size > 0);
	}

	/** The address spaces of iommufd that have a device at this moment. */
	get ioases(): readonly Ioas[] {
		return this.#ioases.filter((ioas) => ioas.deviceCount > 0);
	}

	/** Where DMA goes: one for each container and each address space of iommufd. Each has all of the memory. */
	get iommus(): readonly Iommu[] {
		return [...this.containers.map((container) => container.iommu), ...this.ioases];
	}

	/** The iommufd that was asked for, or that a device in the address space has. */
	get iommufd(): Iommufd | undefined {
		return this.#options.iommufd ?? this.ioases[0]?.iommufd;
	}

	/** All devices have to be with {@link iommufd}. */
	get requiresIommufd(): boolean {
		return this.#options.iommufd !== undefined;
	}

	/**
	 * Keeps guest memory from being discarded while a device may have it pinned. {@link VfioDevice.open} calls it before it
	 * opens one.
	 *
	 * @returns dispose it when the device is closed
	 * @throws whatever `inhibitDiscard` throws
	 */
	holdMemory(): Disposable {
		const { memory, inhibitDiscard } = this.#options;
		if (!memory || !inhibitDiscard) return { [Symbol.dispose]: () => {} };
		if (this.#holders === 0) this.#inhibitor = inhibitDiscard();
		this.#holders++;
		return {
			[Symbol.dispose]: () => {
				if (--this.#holders > 0) return;
				const inhibitor = this.#inhibitor;
				this.#inhibitor = undefined;
				inhibitor?.[Symbol.dispose]();
			},
		};
	}

	/**
	 * Puts a group into the first container that takes it, or into a new one. {@link VfioDevice.open} calls it.
	 *
	 * @param device whom it is for, for errors
	 * @throws VfioError as {@link Container.attach}, and as {@link GuestMemoryMapper.attach}
	 */
	place(group: Group, device: string): Container {
		const container = this.#place(group, device);
		group.use(this.announce(group.fd, device));
		return container;
	}

	/**
	 * Puts a bound device into the first address space of its iommufd that takes it, or into a new one.
	 * {@link VfioDevice.open} calls it.
	 *
	 * @throws VfioError as {@link Ioas.attach}, and as {@link GuestMemoryMapper.attach}
	 */
	placeBound(iommufd: Iommufd, device: BoundDevice): { readonly ioas: Ioas; readonly place: IoasAttachment } {
		const ioases = this.ioases;
		for (const ioas of ioases.filter((one) => one.iommufd === iommufd)) {
			try {
				return { ioas, place: ioas.attach(device) };
			} catch (error) {
				// As with containers: a new one says what is wrong when it is the device.
				if (!(error instanceof VfioError)) throw error;
			}
		}
		const releases = new Releases();
		try {
			const ioas = releases.use(Ioas.allocate(iommufd));
			const place = ioas.attach(device);
			const failed = new Releases();
			try {
				failed.use(place);
				failed.defer(() => place.detach());
				this.#map(ioas, device.name);
				failed.move();
			} finally {
				failed[Symbol.dispose]();
			}
			this.#ioases = [...ioases, ioas];
			return { ioas, place };
		} finally {
			releases[Symbol.dispose](); // the device keeps it from here on
		}
	}

	/**
	 * Tells KVM of a group or a device, before that is opened or bound: some drivers want to know their virtual machine by
	 * then.
	 *
	 * @param fd of the group, or of the character device
	 * @returns dispose it before the file is closed
	 * @throws VfioError `kernel`
	 */
	announce(fd: number, device: string): Disposable {
		const { kvm } = this.#options;
		if (!kvm) return { [Symbol.dispose]: () => {} };
		try {
			kvm.addFile(fd);
		} catch (cause) {
			throw new VfioError("kernel", `Cannot open ${device}: KVM does not take it: ${(cause as Error).message}`, {
				device,
				cause,
			});
		}
		return { [Symbol.dispose]: () => kvm.removeFile(fd) };
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
		const given = this.#options.container;
		const releases = new Releases();
		try {
			const container = given && !containers.includes(given) ? given : releases.use(Container.open(this.#kernel));
			group.join(container, device);
			this.#map(container.iommu, device);
			this.#containers = [...containers, container];
			return container;
		} finally {
			releases[Symbol.dispose](); // the group keeps a new one from here on
		}
	}

	#map(iommu: Iommu, device: string): void {
		const { memory, peerToPeer, onReport } = this.#options;
		if (!memory) return;
		if (iommu.backend === "noiommu") {
			onReport?.({ severity: "error", error: unmapped(device), regions: [] });
			return;
		}
		GuestMemoryMapper.attach(iommu, memory, {
			device,
			...(peerToPeer === undefined ? {} : { peerToPeer }),
			...(onReport ? { onReport } : {}),
		});
	}
}

function unmapped(device: string): VfioError {
	return new VfioError(
		"unsupported-iommu",
		`Cannot map guest memory for DMA of ${device}: without an IOMMU it does DMA to physical addresses, which the guest does not know, and nothing protects the host's memory from it`,
		{ device },
	);
}
