/**
 * IOMMU groups: the devices that cannot be told apart or kept apart, and who may direct their DMA.
 *
 * @module
 */
import { EBUSY, EPERM } from "../../core/uapi/errno.ts";
import type { Iommu, IommuDomain } from "../hardware/iommu.ts";
import type { BusDevice } from "./device.ts";

/** Addresses of a group that are not free for mappings. */
export interface ReservedRegion {
	readonly start: bigint;
	/** The last address, not the one after it. */
	readonly end: bigint;
	/** As in sysfs. `direct-relaxable` ones do not restrict a user's mappings. */
	readonly kind: "direct" | "direct-relaxable" | "reserved" | "msi";
}

/** Options of {@link IommuGroup}. */
export interface IommuGroupOptions {
	/** What sysfs shows as its name. */
	readonly name?: string;
	/** VFIO made it for a device that no IOMMU stands before: a driver reaches memory in the device's place. */
	readonly emulated?: boolean;
	/** VFIO made it for a device with DMA of its own that nothing restrains: what that goes through. */
	readonly unrestrained?: IommuDomain;
}

/**
 * An IOMMU group. Its DMA has one owner at a time: the kernel's drivers together, or one user of VFIO.
 */
export class IommuGroup {
	readonly id: number;
	readonly name: string | undefined;
	readonly emulated: boolean;
	/** There is no IOMMU: nobody owns its DMA, and nothing can be mapped for it. */
	readonly noIommu: boolean;
	readonly #devices: BusDevice[] = [];
	readonly reserved: readonly ReservedRegion[];
	/** What sysfs shows while the kernel has the group. */
	type: string;
	readonly #iommu: Iommu;
	#kernelDrivers = 0;
	#owner: object | undefined;
	#claims = 0;
	#domain: IommuDomain | undefined;

	constructor(
		id: number,
		iommu: Iommu,
		reserved: readonly ReservedRegion[] = [],
		{ name, emulated = false, unrestrained }: IommuGroupOptions = {},
	) {
		this.id = id;
		this.name = name;
		this.emulated = emulated;
		this.noIommu = unrestrained !== undefined;
		this.#domain = unrestrained;
		this.type = emulated || unrestrained ? "unknown" : "DMA";
		this.#iommu = iommu;
		this.reserved = reserved;
	}

	get devices(): readonly BusDevice[] {
		return this.#devices;
	}

	/** A device is there: its DMA goes where that of the others goes. */
	join(device: BusDevice): void {
		this.#devices.push(device);
		if (this.#domain && device.dma) this.#iommu.attach(device.dma, this.#domain);
	}

	/** A device is gone. */
	leave(device: BusDevice): void {
		const at = this.#devices.indexOf(device);
		if (at >= 0) this.#devices.splice(at, 1);
	}

	/** Whether anybody directs this group's DMA: then it is not viable for another user. */
	get owned(): boolean {
		return this.#kernelDrivers > 0 || this.#owner !== undefined;
	}

	/** The user that has claimed it. */
	get owner(): object | undefined {
		return this.#owner;
	}

	/** The user's page table, while one is attached. */
	get domain(): IommuDomain | undefined {
		return this.#domain;
	}

	/** A user takes the DMA of all devices, which is blocked from then on. @returns 0, or -EPERM when it has an owner */
	claim(owner: object): number {
		if (this.#kernelDrivers > 0 || (this.#owner !== undefined && this.#owner !== owner)) return -EPERM;
		this.#owner = owner;
		this.#claims++;
		return 0;
	}

	/** The user gives it back, as often as it has claimed it. */
	release(owner: object): void {
		if (this.#owner !== owner || --this.#claims > 0) return;
		this.detach();
		this.#owner = undefined;
	}

	/** A driver that works with the kernel's own DMA mappings binds. @returns 0, or -EBUSY while a user owns the group */
	claimForKernel(): number {
		if (this.#owner !== undefined) return -EBUSY;
		this.#kernelDrivers++;
		return 0;
	}

	/** That driver has unbound. */
	releaseForKernel(): void {
		if (this.#kernelDrivers > 0) this.#kernelDrivers--;
	}

	/** DMA of all devices goes through the user's page table. @returns 0, or -EBUSY when another one is attached */
	attach(domain: IommuDomain): number {
		if (this.#domain !== undefined && this.#domain !== domain) return -EBUSY;
		this.replace(domain);
		return 0;
	}

	/** DMA of all devices goes over to another page table of the same user. */
	replace(domain: IommuDomain): void {
		this.#domain = domain;
		this.#attachAll(domain);
	}

	/** DMA of all devices is blocked. */
	detach(): void {
		this.#domain = undefined;
		this.#attachAll(undefined);
	}

	#attachAll(domain: IommuDomain | undefined): void {
		for (const { dma } of this.#devices) if (dma) this.#iommu.attach(dma, domain);
	}
}
