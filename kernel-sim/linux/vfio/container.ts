/**
 * A VFIO container: /dev/vfio/vfio. Groups come into it, and with the first one an IOMMU can be set.
 *
 * @module
 */
import { EINVAL, ENODEV, ENOTTY, EPERM } from "../../../core/uapi/errno.ts";
import {
	VFIO_API_VERSION,
	VFIO_CHECK_EXTENSION,
	VFIO_DMA_CC_IOMMU,
	VFIO_GET_API_VERSION,
	VFIO_NOIOMMU_IOMMU,
	VFIO_SET_IOMMU,
	VFIO_TYPE1_IOMMU,
	VFIO_TYPE1_NESTING_IOMMU,
	VFIO_TYPE1v2_IOMMU,
	VFIO_UNMAP_ALL,
	VFIO_UPDATE_VADDR,
} from "../../../core/uapi/vfio.ts";
import { type IoctlArgument, OpenFile } from "../file.ts";
import type { SimProcess } from "../process.ts";
import type { VfioGroup } from "./group.ts";
import { Type1, type Type1Platform } from "./type1.ts";

/** The groups that share one IOMMU address space. It lives as long as its file or a group in it does. */
export class Container {
	readonly #platform: Type1Platform;
	/** Where living containers are listed. */
	readonly #registry: Set<Container>;
	readonly #groups: VfioGroup[] = [];
	#iommu: Type1 | undefined;
	#noIommuSet = false;
	#open = true;

	constructor(platform: Type1Platform, registry: Set<Container>) {
		this.#platform = platform;
		this.#registry = registry;
		registry.add(this);
	}

	/** What VFIO_SET_IOMMU made, until the last group leaves. */
	get iommu(): Type1 | undefined {
		return this.#iommu;
	}

	/** Devices can be opened: an IOMMU was set, or that there is none. */
	get ready(): boolean {
		return this.#iommu !== undefined || this.#noIommuSet;
	}

	get groups(): readonly VfioGroup[] {
		return this.#groups;
	}

	/** A group comes in: its DMA is this container's from now on. @returns 0, or -errno */
	attach(group: VfioGroup): number {
		const { noIommu } = group.iommuGroup;
		if (this.#groups.some((other) => other.iommuGroup.noIommu !== noIommu)) return -EPERM;
		// Nothing keeps the DMA of a device without an IOMMU from the others.
		if (noIommu) {
			this.#groups.push(group);
			return 0;
		}
		const claimed = group.iommuGroup.claim(group);
		if (claimed < 0) return claimed;
		const attached = this.#iommu?.attach(group.iommuGroup) ?? 0;
		if (attached < 0) {
			group.iommuGroup.release(group);
			return attached;
		}
		this.#groups.push(group);
		return 0;
	}

	/** A group leaves. With the last one go the mappings and the IOMMU. */
	detach(group: VfioGroup): void {
		const at = this.#groups.indexOf(group);
		if (at < 0) return;
		this.#groups.splice(at, 1);
		this.#iommu?.detach(group.iommuGroup);
		if (this.#groups.length === 0) {
			this.#iommu = undefined;
			this.#noIommuSet = false;
		}
		group.iommuGroup.release(group);
		this.#forget();
	}

	/** The last descriptor of its file was closed. Groups in it keep it alive, mappings included. */
	closed(): void {
		this.#open = false;
		this.#forget();
	}

	setIommu(type: number, process: SimProcess): number {
		if (this.#groups.length === 0 || this.ready) return -EINVAL;
		if (this.#withoutIommu) return this.#setNoIommu(type, process);
		// Whoever says yes to the number is asked to be it: there are extensions that are no types.
		if (this.checkExtension(type) === 0) return -ENODEV;
		if (type !== VFIO_TYPE1_IOMMU && type !== VFIO_TYPE1v2_IOMMU) return -EINVAL;
		const iommu = new Type1(this.#platform, { version2: type !== VFIO_TYPE1_IOMMU });
		for (const [index, group] of this.#groups.entries()) {
			const result = iommu.attach(group.iommuGroup);
			if (result === 0) continue;
			for (const attached of this.#groups.slice(0, index)) iommu.detach(attached.iommuGroup);
			return result;
		}
		this.#iommu = iommu;
		return 0;
	}

	get #withoutIommu(): boolean {
		return this.#groups.some((group) => group.iommuGroup.noIommu);
	}

	#setNoIommu(type: number, process: SimProcess): number {
		if (this.checkExtension(type) === 0) return -ENODEV;
		if (!process.capable("CAP_SYS_RAWIO")) return -EPERM;
		this.#noIommuSet = true;
		return 0;
	}

	checkExtension(extension: number): number {
		// Only drivers for what groups there are are asked.
		if (extension === VFIO_NOIOMMU_IOMMU && !this.#iommu && (this.#groups.length === 0 || this.#withoutIommu))
			return this.#platform.noIommuMode() ? 1 : 0;
		if (this.#withoutIommu) return 0;
		switch (extension) {
			case VFIO_DMA_CC_IOMMU:
				return this.#iommu?.enforcesCoherency ? 1 : 0;
			case VFIO_UNMAP_ALL:
				return 1;
			case VFIO_UPDATE_VADDR:
				return this.#iommu?.updatesAddresses ? 1 : 0;
			default:
				return this.#accepts(extension) ? 1 : 0;
		}
	}

	#accepts(type: number): boolean {
		// Nesting through type 1 was removed between the two versions.
		if (type === VFIO_TYPE1_NESTING_IOMMU) return this.#platform.version === "6.12";
		return type === VFIO_TYPE1_IOMMU || type === VFIO_TYPE1v2_IOMMU;
	}

	#forget(): void {
		if (!this.#open && this.#groups.length === 0) this.#registry.delete(this);
	}
}

/** The opened node of a container. */
export class ContainerFile extends OpenFile {
	readonly container: Container;

	constructor(container: Container) {
		super("/dev/vfio/vfio");
		this.container = container;
	}

	override ioctl(process: SimProcess, request: number, argument: IoctlArgument): number {
		switch (request) {
			case VFIO_GET_API_VERSION:
				return VFIO_API_VERSION;
			case VFIO_CHECK_EXTENSION:
				return this.container.checkExtension(argument.value);
			case VFIO_SET_IOMMU:
				return this.container.setIommu(argument.value, process);
			default:
				// Before an IOMMU is set nobody is there to say that it does not know the request.
				if (!this.container.ready) return -EINVAL;
				return this.container.iommu?.ioctl(process, request, argument) ?? -ENOTTY;
		}
	}

	protected override release(): void {
		this.container.closed();
	}
}
