/**
 * The platform bus: drivers are matched by what the device tree says a device is compatible with.
 *
 * @module
 */
import { type BusListener, DriverBus } from "../driver-bus.ts";
import type { PlatformBusDevice, PlatformDriver } from "./device.ts";

/** All platform devices, by names such as `fff51000.ethernet`, and their drivers. */
export class PlatformBus extends DriverBus<PlatformBusDevice, PlatformDriver> {
	constructor(listener: BusListener<PlatformBusDevice, PlatformDriver>) {
		super("platform", listener);
	}

	/** A driver without a table has the device of its own name. */
	protected override knows(driver: PlatformDriver, device: PlatformBusDevice): boolean {
		return driver.name === device.name || device.compatible.some((text) => driver.compatible.includes(text));
	}

	protected override compare(a: PlatformBusDevice, b: PlatformBusDevice): number {
		return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
	}
}
