/**
 * A bus of Linux's driver core: which driver has which device, and how that changes. What a kind of bus adds, such as
 * PCI's dynamic ids, is in its own class.
 *
 * @module
 */
import { EBUSY, EINVAL, ENODEV } from "../../core/uapi/errno.ts";
import type { BusDevice } from "./device.ts";
import { andThen, Sleep } from "./sleep.ts";

/** A device that drivers can have. */
export interface DrivenDevice<Driver> extends BusDevice {
	/** The driver that has it. */
	driver: Driver | undefined;
	/** Only the driver of this name may match. */
	driverOverride: string | undefined;
	/** Whoever has locked the device waits, such as a driver that leaves for its last user. */
	leaving: Sleep | undefined;
	/** The driver's own data. */
	driverData: unknown;
}

/** A driver, as its bus sees it. */
export interface BusDriver<Device> {
	/** As in /sys/bus/<bus>/drivers. */
	readonly name: string;
	/** Linux's driver_managed_dma: binding does not make the kernel the owner of the group's DMA. */
	readonly managesDma: boolean;
	/** @returns 0, or -errno */
	probe(device: Device): number;
	/** The device is taken away. @returns 0, or a sleep while it is in use */
	remove(device: Device): number | Sleep;
}

/** Told what happens on a bus: sysfs is. */
export interface BusListener<Device, Driver> {
	deviceAdded(device: Device): void;
	deviceRemoved(device: Device): void;
	driverAdded(driver: Driver): void;
	bound(device: Device, driver: Driver): void;
	/** The driver is about to leave: it may still have to wait. */
	unbinding(device: Device, driver: Driver): void;
}

/** All devices and drivers of a bus. Results are as in Linux: 0 or more, or -errno. */
export abstract class DriverBus<Device extends DrivenDevice<Driver>, Driver extends BusDriver<Device>> {
	/** Such as `pci`: its directory in /sys/bus. */
	readonly name: string;
	/** Whether new devices and new drivers are matched by themselves. */
	autoprobe = true;
	readonly #devices = new Map<string, Device>();
	/** In the order of registration, in which they are tried. */
	readonly #drivers = new Map<string, Driver>();
	readonly #listener: BusListener<Device, Driver>;

	constructor(name: string, listener: BusListener<Device, Driver>) {
		this.name = name;
		this.#listener = listener;
	}

	/** By name, in the bus's order. */
	get devices(): ReadonlyMap<string, Device> {
		return this.#devices;
	}

	get drivers(): ReadonlyMap<string, Driver> {
		return this.#drivers;
	}

	/** Whether the driver's own table, or what was added to it, has the device. */
	protected abstract knows(driver: Driver, device: Device): boolean;

	/** The order of its devices. */
	protected abstract compare(a: Device, b: Device): number;

	/** Whether drivers may have the device at all. */
	protected mayProbe(_device: Device): boolean {
		return true;
	}

	/** The device has been taken off the bus. */
	protected forgotten(_device: Device): void {}

	/** A driver is loaded. It gets no devices by that. */
	addDriver(driver: Driver): void {
		this.#drivers.set(driver.name, driver);
		this.#listener.driverAdded(driver);
	}

	/** A device is there. It gets no driver by that. */
	addDevice(device: Device): void {
		const sorted = [...this.#devices.values(), device].sort((a, b) => this.compare(a, b));
		this.#devices.clear();
		for (const each of sorted) this.#devices.set(each.name, each);
		device.group?.join(device);
		this.#listener.deviceAdded(device);
	}

	/** A device is gone; its driver goes first, and may have to wait. */
	removeDevice(device: Device): number | Sleep {
		return andThen(device.driver ? this.unbind(device.driver, device) : 0, () => {
			// Two may have waited for the same driver.
			if (this.#devices.get(device.name) !== device) return 0;
			this.#devices.delete(device.name);
			this.forgotten(device);
			device.group?.leave(device);
			this.#listener.deviceRemoved(device);
			return 0;
		});
	}

	/** Does something with a device that nobody else may meanwhile bind, unbind or reset. */
	locked(device: Device, action: () => number | Sleep): number | Sleep {
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
	matches(driver: Driver, device: Device): boolean {
		if (device.driverOverride !== undefined) return device.driverOverride === driver.name;
		return this.knows(driver, device);
	}

	/** The `bind` file of a driver. */
	bind(driver: Driver, device: Device | undefined): number | Sleep {
		if (!device || !this.matches(driver, device)) return -ENODEV;
		return whenFree(device, () => (device.driver ? -EBUSY : this.attach(driver, device).result));
	}

	/** The `unbind` file of a driver. Sleeps while the device is in use; whoever comes meanwhile sleeps too. */
	unbind(driver: Driver, device: Device | undefined): number | Sleep {
		if (device?.driver !== driver) return -ENODEV;
		return whenFree(device, () => (device.driver === driver ? this.#detach(driver, device) : -ENODEV));
	}

	/** The `drivers_probe` file: the first driver that matches. None, or one that refuses, is no error. */
	probe(device: Device | undefined): number | Sleep {
		if (!device) return -ENODEV;
		return whenFree(device, () => {
			if (device.driver) return 0;
			for (const driver of this.#drivers.values()) {
				if (!this.matches(driver, device)) continue;
				const { result, refused } = this.attach(driver, device);
				if (result === 0) return 0;
				if (!refused) return -EINVAL;
			}
			return 0;
		});
	}

	/** Gives a device to a driver. @returns `refused` when it was the driver that did not want the device */
	protected attach(driver: Driver, device: Device): { result: number; refused: boolean } {
		const ownership = driver.managesDma ? 0 : (device.group?.claimForKernel() ?? 0);
		if (ownership < 0) return { result: ownership, refused: false };
		device.driver = driver;
		const result = this.mayProbe(device) ? driver.probe(device) : -ENODEV;
		if (result < 0) {
			device.driver = undefined;
			if (!driver.managesDma) device.group?.releaseForKernel();
			return { result, refused: true };
		}
		this.#listener.bound(device, driver);
		return { result: 0, refused: false };
	}

	#detach(driver: Driver, device: Device): number | Sleep {
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

/** Does something with a device once nobody is in the middle of something else with it. */
function whenFree<Driver>(device: DrivenDevice<Driver>, action: () => number | Sleep): number | Sleep {
	return device.leaving ? andThen(device.leaving, () => whenFree(device, action)) : action();
}
