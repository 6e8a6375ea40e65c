/**
 * The PCI bus of Linux's driver core: which driver has which device, and how that changes.
 *
 * @module
 */
import { comparePciAddresses } from "../../core/host/address.ts";
import { EBUSY, EEXIST, EINVAL, ENODEV } from "../../core/uapi/errno.ts";
import type { PciDevice, PciDriver, PciIdentity } from "./driver.ts";
import { identityOf, idMatches, type PciDeviceId, parseDynamicId } from "./dynamic-id.ts";
import { andThen, Sleep } from "./sleep.ts";

/** Told what happens on the bus: sysfs is. */
export interface PciBusListener {
	deviceAdded(device: PciDevice): void;
	deviceRemoved(device: PciDevice): void;
	driverAdded(driver: PciDriver): void;
	bound(device: PciDevice, driver: PciDriver): void;
	/** A virtual function is about to go: it may still have to wait. */
	virtualFunctionLeaving(device: PciDevice): void;
	/** The driver is about to leave: it may still have to wait. */
	unbinding(device: PciDevice, driver: PciDriver): void;
}

/** All PCI devices and drivers. Results are as in Linux: 0 or more, or -errno. */
export class PciBus {
	/** Whether new devices and new drivers are matched by themselves. */
	autoprobe = true;
	readonly #devices = new Map<string, PciDevice>();
	/** In the order of registration, in which they are tried. */
	readonly #drivers = new Map<string, PciDriver>();
	readonly #dynamicIds = new Map<PciDriver, PciDeviceId[]>();
	readonly #listener: PciBusListener;

	constructor(listener: PciBusListener) {
		this.#listener = listener;
	}

	/** By name, such as `0000:05:00.0`, in address order. */
	get devices(): ReadonlyMap<string, PciDevice> {
		return this.#devices;
	}

	get drivers(): ReadonlyMap<string, PciDriver> {
		return this.#drivers;
	}

	/** A driver is loaded. It gets no devices by that. */
	addDriver(driver: PciDriver): void {
		this.#drivers.set(driver.name, driver);
		this.#dynamicIds.set(driver, []);
		this.#listener.driverAdded(driver);
	}

	/** A device is there. It gets no driver by that. */
	addDevice(device: PciDevice): void {
		const all = [...this.#devices.values(), device];
		const sorted = all.sort((a, b) => comparePciAddresses(a.fn.address, b.fn.address));
		this.#devices.clear();
		for (const each of sorted) this.#devices.set(each.name, each);
		device.group?.join(device);
		this.#listener.deviceAdded(device);
	}

	/** A device is gone; its driver goes first, and may have to wait. */
	removeDevice(device: PciDevice): number | Sleep {
		return andThen(device.driver ? this.unbind(device.driver, device) : 0, () => {
			// Two may have waited for the same driver.
			if (this.#devices.get(device.name) !== device) return 0;
			this.#devices.delete(device.name);
			device.physical?.virtualFunctions?.forget(device);
			device.group?.leave(device);
			this.#listener.deviceRemoved(device);
			return 0;
		});
	}

	/** A virtual function is taken away: nobody finds it through its physical one from now on. */
	removeVirtualFunction(device: PciDevice): number | Sleep {
		this.#listener.virtualFunctionLeaving(device);
		return this.removeDevice(device);
	}

	/** Does something with a device that nobody else may meanwhile bind, unbind or reset. */
	locked(device: PciDevice, action: () => number | Sleep): number | Sleep {
		return whenFree(device, () => {
			const done = andThen(action(), (result) => {
				device.leaving = undefined;
				return result;
			});
			if (done instanceof Sleep && !done.awake) device.leaving = done;
			return done;
		});
	}

	/** Whether the driver may have the device: driver_override decides if it is set. */
	matches(driver: PciDriver, device: PciDevice): boolean {
		if (device.driverOverride !== undefined) return device.driverOverride === driver.name;
		return this.#knows(driver, device);
	}

	/** The `bind` file of a driver. */
	bind(driver: PciDriver, device: PciDevice | undefined): number | Sleep {
		if (!device || !this.matches(driver, device)) return -ENODEV;
		return whenFree(device, () => (device.driver ? -EBUSY : this.#attach(driver, device).result));
	}

	/** The `unbind` file of a driver. Sleeps while the device is in use; whoever comes meanwhile sleeps too. */
	unbind(driver: PciDriver, device: PciDevice | undefined): number | Sleep {
		if (device?.driver !== driver) return -ENODEV;
		return whenFree(device, () => (device.driver === driver ? this.#detach(driver, device) : -ENODEV));
	}

	/** The `drivers_probe` file: the first driver that matches. None, or one that refuses, is no error. */
	probe(device: PciDevice | undefined): number | Sleep {
		if (!device) return -ENODEV;
		return whenFree(device, () => {
			if (device.driver) return 0;
			for (const driver of this.#drivers.values()) {
				if (!this.matches(driver, device)) continue;
				const { result, refused } = this.#attach(driver, device);
				if (result === 0) return 0;
				if (!refused) return -EINVAL;
			}
			return 0;
		});
	}

	/** The `new_id` file of a driver: it gets all devices without a driver that the id covers. */
	addId(driver: PciDriver, text: string): number {
		const parsed = parseDynamicId(text);
		if (typeof parsed === "number") return parsed;
		if (parsed.fields < 7 && this.#knows(driver, identityOf(parsed.id))) return -EEXIST;
		// No driver here has data in its table.
		if (parsed.driverData !== 0) return -EINVAL;
		this.#ids(driver).push(parsed.id);
		for (const device of this.#devices.values())
			if (!device.driver && this.matches(driver, device)) this.#attach(driver, device);
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

	#ids(driver: PciDriver): PciDeviceId[] {
		return this.#dynamicIds.get(driver) ?? [];
	}

	#knows(driver: PciDriver, device: PciIdentity): boolean {
		return this.#ids(driver).some((id) => idMatches(id, device)) || driver.matches(device);
	}

	/** @returns `refused` when it was the driver that did not want the device */
	#attach(driver: PciDriver, device: PciDevice): { result: number; refused: boolean } {
		const ownership = driver.managesDma ? 0 : (device.group?.claimForKernel() ?? 0);
		if (ownership < 0) return { result: ownership, refused: false };
		device.driver = driver;
		const result = mayProbe(device) ? driver.probe(device) : -ENODEV;
		if (result < 0) {
			device.driver = undefined;
			if (!driver.managesDma) device.group?.releaseForKernel();
			return { result, refused: true };
		}
		this.#listener.bound(device, driver);
		return { result: 0, refused: false };
	}

	#detach(driver: PciDriver, device: PciDevice): number | Sleep {
		// As in Linux, the links in sysfs go first.
		this.#listener.unbinding(device, driver);
		const done = andThen(driver.remove(device), () => {
			device.driver = undefined;
			device.leaving = undefined;
			device.driverData = undefined;
			if (!driver.managesDma) device.group?.releaseForKernel();
			return 0;
		});
		if (done instanceof Sleep && !done.awake) device.leaving = done;
		return done;
	}
}

/** `sriov_drivers_autoprobe` keeps drivers away from virtual functions, but not the one that was asked for by name. */
function mayProbe(device: PciDevice): boolean {
	return device.physical?.virtualFunctions?.autoprobe !== false || device.driverOverride !== undefined;
}

/** Does something with a device once nobody is in the middle of something else with it. */
function whenFree(device: PciDevice, action: () => number | Sleep): number | Sleep {
	return device.leaving ? andThen(device.leaving, () => whenFree(device, action)) : action();
}
