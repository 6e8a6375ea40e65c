/**
 * The PCI bus: ids that are added to drivers while they run, and virtual functions.
 *
 * @module
 */
import { comparePciAddresses } from "../../core/host/address.ts";
import { EEXIST, EINVAL, ENODEV } from "../../core/uapi/errno.ts";
import type { PciDevice, PciDriver, PciIdentity } from "./driver.ts";
import { type BusListener, DriverBus } from "./driver-bus.ts";
import { identityOf, idMatches, type PciDeviceId, parseDynamicId } from "./dynamic-id.ts";
import type { Sleep } from "./sleep.ts";

/** Told what happens on the bus: sysfs is. */
export interface PciBusListener extends BusListener<PciDevice, PciDriver> {
	/** A virtual function is about to go: it may still have to wait. */
	virtualFunctionLeaving(device: PciDevice): void;
}

/** All PCI devices, by names such as `0000:05:00.0` and in address order, and their drivers. */
export class PciBus extends DriverBus<PciDevice, PciDriver> {
	readonly #dynamicIds = new Map<PciDriver, PciDeviceId[]>();
	readonly #listener: PciBusListener;

	constructor(listener: PciBusListener) {
		super("pci", listener);
		this.#listener = listener;
	}

	override addDriver(driver: PciDriver): void {
		this.#dynamicIds.set(driver, []);
		super.addDriver(driver);
	}

	/** A virtual function is taken away: nobody finds it through its physical one from now on. */
	removeVirtualFunction(device: PciDevice): number | Sleep {
		this.#listener.virtualFunctionLeaving(device);
		return this.removeDevice(device);
	}

	/** The `new_id` file of a driver: it gets all devices without a driver that the id covers. */
	addId(driver: PciDriver, text: string): number {
		const parsed = parseDynamicId(text);
		if (typeof parsed === "number") return parsed;
		if (parsed.fields < 7 && this.#hasId(driver, identityOf(parsed.id))) return -EEXIST;
		// No driver here has data in its table.
		if (parsed.driverData !== 0) return -EINVAL;
		this.#ids(driver).push(parsed.id);
		for (const device of this.devices.values())
			if (!device.driver && this.matches(driver, device)) this.attach(driver, device);
		return 0;
	}

	/** The `remove_id` file of a driver: devices that it has stay with it. */
	removeId(driver: PciDriver, text: string): number {
		const parsed = parseDynamicId(text);
		if (typeof parsed === "number") return parsed;
		const ids = this.#ids(driver);
		const { id } = parsed;
		const at = ids.findIndex(
			(known) =>
				known.vendor === id.vendor &&
				known.device === id.device &&
				(parsed.fields < 3 || known.subvendor === id.subvendor) &&
				(parsed.fields < 4 || known.subdevice === id.subdevice) &&
				((known.class ^ id.class) & id.classMask) === 0,
		);
		if (at < 0) return -ENODEV;
		ids.splice(at, 1);
		return 0;
	}

	protected override knows(driver: PciDriver, device: PciDevice): boolean {
		return this.#hasId(driver, device);
	}

	protected override compare(a: PciDevice, b: PciDevice): number {
		return comparePciAddresses(a.fn.address, b.fn.address);
	}

	/** `sriov_drivers_autoprobe` keeps drivers away from virtual functions, but not the one that was asked for by name. */
	protected override mayProbe(device: PciDevice): boolean {
		return device.physical?.virtualFunctions?.autoprobe !== false || device.driverOverride !== undefined;
	}

	protected override forgotten(device: PciDevice): void {
		device.physical?.virtualFunctions?.forget(device);
	}

	#ids(driver: PciDriver): PciDeviceId[] {
		return this.#dynamicIds.get(driver) ?? [];
	}

	#hasId(driver: PciDriver, device: PciIdentity): boolean {
		return this.#ids(driver).some((id) => idMatches(id, device)) || driver.matches(device);
	}
}
