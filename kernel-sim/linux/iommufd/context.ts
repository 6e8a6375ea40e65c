/**
 * What one open /dev/iommu holds: objects with numbers, which refer to each other.
 *
 * @module
 */
import { EBUSY, ENOENT } from "../../../core/uapi/errno.ts";
import type { IommuGroup } from "../iommu-group.ts";
import type { AccountingMode } from "./accounts.ts";
import type { Area } from "./area.ts";
import type { IommufdGroup } from "./group.ts";
import { Ioas } from "./ioas.ts";
import type { IommufdObject } from "./object.ts";
import type { IommufdPlatform } from "./platform.ts";

/** A class of objects. */
interface Kind<T> {
	readonly prototype: T;
	[Symbol.hasInstance](value: unknown): boolean;
}

/** The objects of an open /dev/iommu. */
export class IommufdContext {
	readonly platform: IommufdPlatform;
	/** Groups that have a device here. */
	readonly groups = new Map<IommuGroup, IommufdGroup>();
	/** How the memory of new mappings is charged. */
	accounting: AccountingMode = "user";
	/** What VFIO's own requests on this file work on. */
	compatible: Ioas | undefined;
	/** A group without an IOMMU has come in: there will be no address space for VFIO's requests. */
	withoutIommu = false;
	readonly #objects = new Map<number, IommufdObject>();
	/** No number below it is free. */
	#free = 1;

	constructor(platform: IommufdPlatform) {
		this.platform = platform;
		platform.contexts.add(this);
	}

	/** By number. */
	get objects(): ReadonlyMap<number, IommufdObject> {
		return this.#objects;
	}

	/** What is mapped in all of its address spaces. */
	get areas(): Area[] {
		return [...this.#objects.values()].flatMap((object) => (object instanceof Ioas ? object.areas : []));
	}

	/** Gives an object the lowest free number. */
	add<T extends IommufdObject>(object: T): T {
		while (this.#objects.has(this.#free)) this.#free++;
		object.id = this.#free;
		this.#objects.set(object.id, object);
		return object;
	}

	/** An object of some kind; undefined when there is none, or it is of another. */
	find<T extends IommufdObject>(id: number, kind: Kind<T>): T | undefined {
		const object = this.#objects.get(id);
		return kind[Symbol.hasInstance](object) ? (object as T) : undefined;
	}

	/** IOMMU_DESTROY. @returns 0, -ENOENT or -EBUSY */
	destroy(id: number): number {
		const object = this.#objects.get(id);
		if (!object) return -ENOENT;
		if (object.users > 0) return -EBUSY;
		this.remove(object);
		return 0;
	}

	/** Takes an object out, whoever refers to it. */
	remove(object: IommufdObject): void {
		this.#objects.delete(object.id);
		this.#free = Math.min(this.#free, object.id);
		object.destroy();
	}

	/** The file is gone, and all devices with it: what refers to others goes before them. */
	closed(): void {
		while (this.#objects.size > 0) {
			const free = [...this.#objects.values()].filter((object) => object.users === 0);
			for (const object of free) this.remove(object);
			if (free.length === 0) throw new Error("Cannot close /dev/iommu: its objects refer to each other in a circle");
		}
		this.platform.contexts.delete(this);
	}
}
