/**
 * A parent device: what mediated devices are made of.
 *
 * @module
 */
import type { MediatedDriver, MediatedType } from "./driver.ts";
import type { MdevDriver } from "./mdev-driver.ts";

/** A parent, with how much of it is left. */
export class MdevParent {
	readonly name: string;
	readonly syspath: string;
	readonly driver: MdevDriver;
	readonly types: readonly MediatedType[];
	/** How many more devices there can be, where the bus counts them. */
	remaining: number | undefined;

	constructor(mediated: MediatedDriver, driver: MdevDriver) {
		this.name = mediated.parent ?? mediated.name;
		this.syspath = `/sys/devices/virtual/${mediated.name}/${this.name}`;
		this.driver = driver;
		this.types = mediated.types;
		this.remaining = mediated.instances;
	}

	/** The directory of a type. */
	typePath(type: MediatedType): string {
		return `${this.syspath}/mdev_supported_types/${this.driver.name}-${type.name}`;
	}

	/** The attribute `available_instances`. */
	available(type: MediatedType): number {
		return this.remaining ?? type.available?.() ?? 0;
	}
}
