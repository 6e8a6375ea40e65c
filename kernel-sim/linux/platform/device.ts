/**
 * Platform devices and their drivers, as Linux's driver core knows them.
 *
 * @module
 */
import { stringsOf } from "../../../core/platform/device-tree/node.ts";
import type { PlatformHardware } from "../../hardware/platform/hardware.ts";
import type { BusDriver, DrivenDevice } from "../driver-bus.ts";
import type { IommuGroup } from "../iommu-group.ts";
import type { Sleep } from "../sleep.ts";

/** A driver of platform devices. */
export interface PlatformDriver extends BusDriver<PlatformBusDevice> {
	/** What its table has of `compatible`; empty for one that is bound by `driver_override` only. */
	readonly compatible: readonly string[];
}

/** A platform device under Linux (`struct platform_device`). */
export class PlatformBusDevice implements DrivenDevice<PlatformDriver> {
	readonly hardware: PlatformHardware;
	/** Absent on a host without an IOMMU, unless VFIO has made one. */
	group: IommuGroup | undefined;
	driver: PlatformDriver | undefined;
	driverOverride: string | undefined;
	leaving: Sleep | undefined;
	driverData: unknown;

	constructor(hardware: PlatformHardware, group: IommuGroup | undefined) {
		this.hardware = hardware;
		this.group = group;
	}

	get name(): string {
		return this.hardware.name;
	}

	get syspath(): string {
		return `/sys/devices/platform/${this.name}`;
	}

	get dma(): PlatformHardware {
		return this.hardware;
	}

	/** `compatible` of its device tree node, the most specific first. */
	get compatible(): readonly string[] {
		const { node } = this.hardware.description;
		return (node && stringsOf(node, "compatible")) ?? [];
	}
}
