/**
 * A device on the mdev bus.
 *
 * @module
 */
import type { DrivenDevice } from "../driver-bus.ts";
import type { IommuGroup } from "../iommu-group.ts";
import type { Sleep } from "../sleep.ts";
import type { MediatedType } from "./driver.ts";
import type { MdevDriver } from "./mdev-driver.ts";
import type { MdevParent } from "./parent.ts";

/** A mediated device, as Linux's driver core has it. */
export class MdevDevice implements DrivenDevice<MdevDriver> {
	/** Its UUID in small letters. */
	readonly name: string;
	readonly syspath: string;
	readonly parent: MdevParent;
	readonly type: MediatedType;
	/** Given by VFIO while a driver has the device. */
	group: IommuGroup | undefined;
	/** It does no DMA that an IOMMU would see. */
	readonly dma = undefined;
	driver: MdevDriver | undefined;
	driverOverride: string | undefined;
	leaving: Sleep | undefined;
	driverData: unknown;

	constructor(uuid: string, parent: MdevParent, type: MediatedType) {
		this.name = uuid;
		this.parent = parent;
		this.type = type;
		this.syspath = `${parent.syspath}/${uuid}`;
	}
}
