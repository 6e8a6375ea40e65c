/**
 * PCI devices and their drivers, as Linux's driver core knows them.
 *
 * @module
 */
import { formatPciAddress } from "../../core/host/address.ts";
import type { PciFunction } from "../hardware/function.ts";
import { BarClaims } from "./bar-claims.ts";
import type { BusDriver, DrivenDevice } from "./driver-bus.ts";
import type { IommuGroup } from "./iommu-group.ts";
import type { PciResource } from "./pci-resources.ts";
import type { Sleep } from "./sleep.ts";
import type { VirtualFunctions } from "./virtual-functions.ts";

/** What drivers are matched by. */
export interface PciIdentity {
	readonly vendor: number;
	readonly device: number;
	readonly subsystemVendor: number;
	readonly subsystemDevice: number;
	/** 24 bits. */
	readonly class: number;
}

/** A driver of PCI devices. */
export interface PciDriver extends BusDriver<PciDevice> {
	/** Whether the driver's own table has the device. Overrides and ids added through sysfs are the driver core's matter. */
	matches(device: PciIdentity): boolean;
	/**
	 * Somebody wants this many virtual functions of a physical one, none of which are there, or none of those that are there.
	 * A driver without this makes none.
	 */
	configureVirtualFunctions?(device: PciDevice, count: number): number | Sleep;
	/** The virtual functions that it makes are for itself: `driver_override` names it in each. */
	readonly keepsVirtualFunctions?: boolean;
}

/** The ways Linux knows to reset one function, in the order it tries them. */
export type ResetMethod = "flr" | "af_flr" | "pm" | "bus";

/** A PCI function under Linux. */
export class PciDevice implements PciIdentity, DrivenDevice<PciDriver> {
	readonly fn: PciFunction;
	/** Such as `0000:05:00.0`. */
	readonly name: string;
	/** Absent on a host without an IOMMU, unless VFIO has made one. */
	group: IommuGroup | undefined;
	/** Of a virtual function: whose it is. */
	readonly physical: PciDevice | undefined;
	/** Of a physical function: those that it can have. */
	virtualFunctions: VirtualFunctions | undefined;
	driver: PciDriver | undefined;
	driverOverride: string | undefined;
	/** Whoever has locked the device waits: a driver that leaves for its last user, or virtual functions that go for theirs. */
	leaving: Sleep | undefined;
	/** What it decodes, as it was when Linux found it: sysfs `resource`. */
	resources: readonly PciResource[] = [];
	/** The methods that are switched on, in order (sysfs reset_method). */
	resetMethods: readonly ResetMethod[] = [];
	/** The sysfs directory, such as `/sys/devices/pci0000:00/0000:00:1c.0/0000:05:00.0`. */
	readonly syspath: string;
	/** Which BARs a driver has to itself. */
	claims = new BarClaims(true);
	/** How often it was enabled: what sysfs shows as `enable`. */
	enableCount = 0;
	driverData: unknown;

	constructor(fn: PciFunction, group: IommuGroup | undefined, syspath: string, physical?: PciDevice) {
		this.fn = fn;
		this.name = formatPciAddress(fn.address);
		this.group = group;
		this.syspath = syspath;
		this.physical = physical;
	}

	get dma(): PciFunction {
		return this.fn;
	}

	/** Those of a virtual function are not in its registers. */
	get vendor(): number {
		return this.physical ? this.physical.vendor : word(this.fn.config, 0x00);
	}

	get device(): number {
		return this.physical?.virtualFunctions ? this.physical.virtualFunctions.deviceId : word(this.fn.config, 0x02);
	}

	get revision(): number {
		return this.fn.config[0x08] ?? 0;
	}

	get class(): number {
		const config = this.fn.config;
		return ((config[0x0b] ?? 0) << 16) | ((config[0x0a] ?? 0) << 8) | (config[0x09] ?? 0);
	}

	get headerType(): number {
		return (this.fn.config[0x0e] ?? 0) & 0x7f;
	}

	get subsystemVendor(): number {
		return this.headerType === 0 ? word(this.fn.config, 0x2c) : 0;
	}

	get subsystemDevice(): number {
		return this.headerType === 0 ? word(this.fn.config, 0x2e) : 0;
	}
}

function word(config: Uint8Array, offset: number): number {
	return (config[offset] ?? 0) | ((config[offset + 1] ?? 0) << 8);
}
