/**
 * SR-IOV as Linux's PCI core does it: the virtual functions of a physical one come and go when its driver says so.
 *
 * @module
 */
import { EBUSY, EIO, ENOENT, ENOMEM, ERANGE } from "../../core/uapi/errno.ts";
import { PCI_SUBORDINATE_BUS } from "../../core/uapi/pci_regs.ts";
import { load } from "../hardware/little-endian.ts";
import type { SriovUnit } from "../hardware/sriov.ts";
import type { Machine } from "../hardware/topology.ts";
import type { PciDevice } from "./driver.ts";
import type { PciBus } from "./pci-bus.ts";
import { SRIOV_LINES } from "./pci-resources.ts";
import { andThen, type Sleep } from "./sleep.ts";

/** Registers of the capability (PCI Express Base 5.0, section 9.3.3). */
const CONTROL = 0x08;
const INITIAL_VFS = 0x0c;
const NUM_VFS = 0x10;
const FIRST_VF_OFFSET = 0x14;
const VF_STRIDE = 0x16;
/** VF Enable and VF Memory Space Enable. */
const ENABLED = 0x0009;

/** What Linux keeps of a physical function's virtual ones. Results are as in Linux: 0 or more, or -errno. */
export class VirtualFunctions {
	/** They get drivers when they appear, unless `driver_override` names one: sysfs `sriov_drivers_autoprobe`. */
	autoprobe = true;
	/** How many the driver is ready for, where that is fewer than there can be. */
	limit: number | undefined;
	/** Those that are there, in the order of their index; those on their way out included. */
	readonly devices: PciDevice[] = [];
	readonly #physical: PciDevice;
	readonly #unit: SriovUnit;
	readonly #machine: Machine;
	readonly #bus: PciBus;
	#count = 0;

	/** Linux finds the physical function: virtual ones that were there before it are not wanted. */
	constructor(physical: PciDevice, unit: SriovUnit, machine: Machine, bus: PciBus) {
		this.#physical = physical;
		this.#unit = unit;
		this.#machine = machine;
		this.#bus = bus;
		if (unit.enabled) this.#turnOff();
	}

	/** sysfs `sriov_numvfs`. */
	get count(): number {
		return this.#count;
	}

	/** sysfs `sriov_totalvfs`. */
	get total(): number {
		return this.limit ?? this.#unit.totalVfs;
	}

	/** Device id of the virtual functions. */
	get deviceId(): number {
		return this.#unit.vfDevice;
	}

	/** Routing id of the first one relative to the physical function's. */
	get offset(): number {
		return this.#load(FIRST_VF_OFFSET);
	}

	/** What lies between the routing ids of two of them. */
	get stride(): number {
		return this.#load(VF_STRIDE);
	}

	/** A write to sysfs `sriov_numvfs`: the driver does it, if it can. Sleeps while virtual functions are in use. */
	configure(count: number): number | Sleep {
		if (count > this.total) return -ERANGE;
		return this.#bus.locked(this.#physical, () => {
			if (count === this.#count) return 0;
			const { driver } = this.#physical;
			if (!driver?.configureVirtualFunctions) return -ENOENT;
			if (count > 0 && this.#count > 0) return -EBUSY;
			return andThen(driver.configureVirtualFunctions(this.#physical, count), (result) => Math.min(result, 0));
		});
	}

	/** Makes them appear: what a driver calls. @returns 0, -EIO or -ENOMEM */
	enable(count: number): number {
		if (this.#load(INITIAL_VFS) !== this.#unit.totalVfs) return -EIO;
		const unplaced = this.#physical.resources
			.slice(SRIOV_LINES.first, SRIOV_LINES.end)
			.some(({ start, end }) => start === 0n && end > 0n);
		if (unplaced || !this.#routable(count)) return -ENOMEM;
		this.#store(NUM_VFS, count);
		// They are plugged in, and found, while this register is written.
		this.#store(CONTROL, this.#load(CONTROL) | ENABLED);
		this.#count = count;
		return 0;
	}

	/** Makes them go, one after the other: what a driver calls. @returns 0, or a sleep while one is in use */
	disable(): number | Sleep {
		const device = this.devices.shift();
		if (device) return andThen(this.#bus.removeVirtualFunction(device), () => this.disable());
		if (this.#count > 0) this.#turnOff();
		return 0;
	}

	/** One has gone by itself. */
	forget(device: PciDevice): void {
		const at = this.devices.indexOf(device);
		if (at >= 0) this.devices.splice(at, 1);
	}

	#turnOff(): void {
		this.#store(CONTROL, this.#load(CONTROL) & ~ENABLED);
		this.#store(NUM_VFS, 0);
		this.#count = 0;
	}

	/** The bridge above leads to the buses that they are on. */
	#routable(count: number): boolean {
		const { fn } = this.#physical;
		const last = this.#unit.address(fn.address, count - 1);
		const bridge = this.#machine.bridgeOf(fn);
		const highest = bridge ? (bridge.config[PCI_SUBORDINATE_BUS] ?? 0) : 0xff;
		return last !== undefined && last.bus <= Math.max(highest, fn.address.bus);
	}

	#load(register: number): number {
		return load(this.#physical.fn.config, this.#unit.offset + register, 2);
	}

	#store(register: number, value: number): void {
		this.#physical.fn.configWrite(this.#unit.offset + register, 2, value);
	}
}
