/**
 * The mdev bus: mediated devices come and go by writes to sysfs.
 *
 * @module
 */
import { EEXIST, EINVAL, EUSERS } from "../../../core/uapi/errno.ts";
import { type BusListener, DriverBus } from "../driver-bus.ts";
import type { Sleep } from "../sleep.ts";
import { readUuid } from "../uuid.ts";
import type { MediatedDriver, MediatedType } from "./driver.ts";
import { MdevDevice } from "./mdev-device.ts";
import { MdevDriver, type MdevKernel } from "./mdev-driver.ts";
import { MdevParent } from "./parent.ts";

/** Told what happens on the bus. */
export interface MdevBusListener extends BusListener<MdevDevice, MdevDriver> {
	parentAdded(parent: MdevParent): void;
	/** A device is about to be removed; its driver may still have to wait. */
	deviceLeaving(device: MdevDevice): void;
}

/** All mediated devices, their drivers and parents. No driver is ever matched by itself. */
export class MdevBus extends DriverBus<MdevDevice, MdevDriver> {
	readonly #kernel: MdevKernel;
	readonly #listener: MdevBusListener;
	readonly #parents: MdevParent[] = [];

	constructor(kernel: MdevKernel, listener: MdevBusListener) {
		super("mdev", listener);
		this.#kernel = kernel;
		this.#listener = listener;
	}

	get parents(): readonly MdevParent[] {
		return this.#parents;
	}

	/** A driver is loaded, and its parent device is there. */
	load(mediated: MediatedDriver): void {
		const driver = new MdevDriver(mediated.name, this.#kernel);
		this.addDriver(driver);
		const parent = new MdevParent(mediated, driver);
		this.#parents.push(parent);
		this.#listener.parentAdded(parent);
	}

	/** A write to `create`. @returns 0; -EINVAL for what is no UUID, -EEXIST, -EUSERS, or what the driver says */
	create(parent: MdevParent, type: MediatedType, text: string): number {
		const uuid = readUuid(text);
		if (uuid === undefined) return -EINVAL;
		if (this.devices.has(uuid)) return -EEXIST;
		if (parent.remaining === 0) return -EUSERS;
		if (parent.remaining !== undefined) parent.remaining--;
		const device = new MdevDevice(uuid, parent, type);
		this.addDevice(device);
		const { result } = this.attach(parent.driver, device);
		if (result < 0) this.removeDevice(device);
		return result;
	}

	/** A write to `remove`. @returns 0, or a sleep while the device is open */
	remove(device: MdevDevice): number | Sleep {
		this.#listener.deviceLeaving(device);
		return this.removeDevice(device);
	}

	protected override knows(): boolean {
		return false;
	}

	protected override compare(a: MdevDevice, b: MdevDevice): number {
		return a.name < b.name ? -1 : 1;
	}

	protected override forgotten(device: MdevDevice): void {
		const { parent } = device;
		if (parent.remaining !== undefined) parent.remaining++;
	}
}
