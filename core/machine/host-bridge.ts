/**
 * How a processor reaches configuration space: ports 0xcf8 and 0xcfc, and the memory window of PCI Express.
 *
 * @module
 */
import { allOnes } from "../bytes.ts";
import type { AccessWidth } from "../kernel.ts";
import { PCI_CFG_SPACE_EXP_SIZE } from "../uapi/pci_regs.ts";
import type { GuestPciFunction } from "./machine.ts";
import type { RootBus } from "./root-bus.ts";

/** The address register of configuration mechanism 1. */
export const CONFIG_ADDRESS_PORT = 0xcf8;
/** The data window of configuration mechanism 1: four ports. */
export const CONFIG_DATA_PORT = 0xcfc;

const CONFIG_ENABLE = 0x8000_0000;
/** ECAM: 4 KiB a function, 256 functions a bus. */
const ECAM_BUS_SHIFT = 20;

/** Where the enhanced configuration access mechanism lies in memory (PCI Express Base, section 7.2.2). */
export interface EcamWindow {
	/** Guest-physical address of bus 0's first byte, a multiple of 1 MiB. */
	readonly base: number;
	/** The first bus that has configuration space there. */
	readonly firstBus: number;
	/** The last bus that has. */
	readonly lastBus: number;
}

/**
 * Configuration accesses of a guest's processor. An access that names no function, crosses a register or is not aligned
 * reads all ones and writes nothing, as a host bridge does with a master abort.
 */
export class HostBridge {
	readonly #root: RootBus;
	#address = 0;
	/** The ECAM window, or undefined while there is none. A chipset lets its firmware move it. */
	ecam: EcamWindow | undefined;

	constructor(root: RootBus, options: { readonly ecam?: EcamWindow } = {}) {
		this.#root = root;
		this.ecam = options.ecam;
	}

	/** What port 0xcf8 holds. */
	get configAddress(): number {
		return this.#address;
	}

	/**
	 * Whether the data window leads to a bus or function of this topology now. A VMM with chipset functions of its own on
	 * bus 0 hands accesses that are not ours to those. Allocates nothing.
	 */
	get selected(): boolean {
		if (this.#address < CONFIG_ENABLE) return false;
		const bus = this.#root.bus((this.#address >>> 16) & 0xff);
		if (bus === undefined) return false;
		return bus !== this.#root || bus.functionAt((this.#address >>> 8) & 0xff) !== undefined;
	}

	/** A read of ports 0xcf8 to 0xcff. */
	portRead(port: number, width: AccessWidth): number {
		if (port === CONFIG_ADDRESS_PORT && width === 4) return this.#address;
		if (port < CONFIG_DATA_PORT || this.#address < CONFIG_ENABLE) return allOnes(width);
		const fn = this.#function((this.#address >>> 8) & 0xffff);
		return read(fn, (this.#address & 0xfc) + port - CONFIG_DATA_PORT, width, 256);
	}

	/**
	 * A write to ports 0xcf8 to 0xcff. Only 32-bit writes reach the address register: narrower ones are ordinary I/O, such
	 * as the reset control register at 0xcf9 (PCI Local Bus 3.0, section 3.2.2.3.2).
	 */
	portWrite(port: number, width: AccessWidth, value: number): void {
		if (port === CONFIG_ADDRESS_PORT && width === 4) {
			this.#address = (value & 0x80ff_fffc) >>> 0;
		} else if (port >= CONFIG_DATA_PORT && this.#address >= CONFIG_ENABLE) {
			const fn = this.#function((this.#address >>> 8) & 0xffff);
			write(fn, (this.#address & 0xfc) + port - CONFIG_DATA_PORT, width, value, 256);
		}
	}

	/** Whether a guest-physical address lies in the ECAM window. */
	ecamContains(address: number): boolean {
		const ecam = this.ecam;
		if (ecam === undefined) return false;
		const bus = Math.floor((address - ecam.base) / (1 << ECAM_BUS_SHIFT));
		return bus >= ecam.firstBus && bus <= ecam.lastBus;
	}

	/** A read in the ECAM window. @param address guest-physical */
	ecamRead(address: number, width: AccessWidth): number {
		if (!this.ecamContains(address)) return allOnes(width);
		const offset = address - (this.ecam?.base ?? 0);
		const fn = this.#function(Math.floor(offset / PCI_CFG_SPACE_EXP_SIZE));
		return read(fn, offset % PCI_CFG_SPACE_EXP_SIZE, width, PCI_CFG_SPACE_EXP_SIZE);
	}

	/** A write in the ECAM window. @param address guest-physical */
	ecamWrite(address: number, width: AccessWidth, value: number): void {
		if (!this.ecamContains(address)) return;
		const offset = address - (this.ecam?.base ?? 0);
		const fn = this.#function(Math.floor(offset / PCI_CFG_SPACE_EXP_SIZE));
		write(fn, offset % PCI_CFG_SPACE_EXP_SIZE, width, value, PCI_CFG_SPACE_EXP_SIZE);
	}

	/** @param bdf bus times 256 plus device times 8 plus function */
	#function(bdf: number): GuestPciFunction | undefined {
		return this.#root.bus(bdf >> 8)?.functionAt(bdf & 0xff);
	}
}

function read(fn: GuestPciFunction | undefined, offset: number, width: AccessWidth, size: number): number {
	if (fn === undefined || !isRegister(offset, width, size)) return allOnes(width);
	return fn.configRead(offset, width);
}

function write(
	fn: GuestPciFunction | undefined,
	offset: number,
	width: AccessWidth,
	value: number,
	size: number,
): void {
	if (fn === undefined || !isRegister(offset, width, size)) return;
	fn.configWrite(offset, width, value);
}

function isRegister(offset: number, width: number, size: number): boolean {
	return (width === 1 || width === 2 || width === 4) && offset % width === 0 && offset + width <= size;
}
