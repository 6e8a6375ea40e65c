/**
 * The IOMMU groups of a host, with their directories in sysfs: those that the topology makes, and those that VFIO makes.
 *
 * @module
 */
import type { PciFunction } from "../hardware/function.ts";
import type { Iommu } from "../hardware/iommu.ts";
import type { BusDevice } from "./device.ts";
import type { FileSystem } from "./filesystem.ts";
import { IommuGroup, type IommuGroupOptions, type ReservedRegion } from "./iommu-group.ts";
import { addGroupDirectory, addGroupMember, removeGroupDirectory, removeGroupMember } from "./sysfs/iommu.ts";

/** A device whose group comes and goes. */
export type GroupedDevice = BusDevice & { group: IommuGroup | undefined };

const MESSAGE_WINDOW: ReservedRegion = { start: 0xfee00000n, end: 0xfeefffffn, kind: "msi" };
/** Floppies behind an ISA bridge do DMA to the first 16 MiB (VT-d driver). */
const ISA_WINDOW: ReservedRegion = { start: 0n, end: 0xffffffn, kind: "direct-relaxable" };
const ISA_BRIDGE_CLASS = 0x060100;

/** All groups, by number. */
export class IommuGroups {
	readonly #files: FileSystem;
	readonly #iommu: Iommu;
	readonly #groups = new Map<number, IommuGroup>();

	constructor(files: FileSystem, iommu: Iommu) {
		this.#files = files;
		this.#iommu = iommu;
	}

	[Symbol.iterator](): Iterator<IommuGroup> {
		return this.#groups.values();
	}

	/** The group of that number, made when it is not there. @param members PCI functions that it is made for */
	obtain(id: number, members: readonly PciFunction[] = []): IommuGroup {
		const present = this.#groups.get(id);
		if (present) return present;
		const isa = members.some((fn) => classOf(fn) === ISA_BRIDGE_CLASS);
		return this.#add(new IommuGroup(id, this.#iommu, isa ? [ISA_WINDOW, MESSAGE_WINDOW] : [MESSAGE_WINDOW]));
	}

	/** VFIO makes a group for a device that no IOMMU stands before. */
	make(device: GroupedDevice, options: IommuGroupOptions): IommuGroup {
		let id = 0;
		while (this.#groups.has(id)) id++;
		const group = this.#add(new IommuGroup(id, this.#iommu, [], { name: "vfio-noiommu", ...options }));
		device.group = group;
		group.join(device);
		this.joined(group, device);
		return group;
	}

	/** VFIO takes it away again. */
	unmake(device: GroupedDevice, group: IommuGroup): void {
		group.leave(device);
		if (group.noIommu && device.dma) this.#iommu.attach(device.dma, undefined);
		device.group = undefined;
		this.left(group, device);
	}

	/** A device has joined its group. */
	joined(group: IommuGroup, device: BusDevice): void {
		addGroupMember(this.#files, group, device);
	}

	/** A device has left its group: the last one takes that with it. */
	left(group: IommuGroup, device: BusDevice): void {
		removeGroupMember(this.#files, group, device);
		if (group.devices.length > 0 || this.#groups.get(group.id) !== group) return;
		this.#groups.delete(group.id);
		removeGroupDirectory(this.#files, group);
	}

	#add(group: IommuGroup): IommuGroup {
		this.#groups.set(group.id, group);
		addGroupDirectory(this.#files, group);
		return group;
	}
}

function classOf(fn: PciFunction): number {
	const [, programming = 0, subclass = 0, base = 0] = fn.config.subarray(8, 12);
	return (base << 16) | (subclass << 8) | programming;
}
