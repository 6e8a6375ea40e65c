/**
 * Single Root I/O Virtualization: a physical function makes virtual ones appear (PCI Express Base 5.0, section 9.3.3).
 *
 * @module
 */
import type { PciAddress } from "../../core/host/address.ts";
import type { FunctionDescription } from "./description.ts";
import { load, store } from "./little-endian.ts";
import type { BarDescription, DeviceModel } from "./model.ts";

const CONTROL = 0x08;
const INITIAL_VFS = 0x0c;
const TOTAL_VFS = 0x0e;
const NUM_VFS = 0x10;
const FIRST_VF_OFFSET = 0x14;
const VF_STRIDE = 0x16;
const VF_DEVICE = 0x1a;
const VF_BAR_0 = 0x24;
const CAPABILITY_END = 0x40;
const VF_ENABLE = 0x01;
const VF_MEMORY_ENABLE = 0x08;
const MEMORY_TYPE_64 = 0x4;
const PREFETCHABLE = 0x8;
/** Virtual functions can be given away, and so have their pages for themselves (section 9.3.3.14). */
const SMALLEST_BAR = 4096;
const LARGEST_BAR = 2 ** 28;

/** What a model says of one of its virtual functions. */
export interface VirtualFunction {
	/**
	 * What it is. The BARs are those that the physical function's registers place; `vendor` and `device` are what software
	 * is to take it for, since the registers of a virtual function read as all ones there.
	 */
	readonly description: FunctionDescription;
	readonly model?: DeviceModel;
}

/**
 * What becomes of a physical function's virtual ones: they `appear` when VF Enable is set and `vanish` when it is cleared;
 * a reset of the physical function clears it too, but software that restores the register finds them again: they `hide`.
 */
export type VirtualFunctionChange = "appear" | "vanish" | "hide";

/** Reads what a physical function's SR-IOV registers say. They live in its configuration space. */
export class SriovUnit {
	/** Where the capability is. */
	readonly offset: number;
	readonly #config: Uint8Array;
	readonly #writable: Uint8Array;
	/** NumVFs only counts as it was when VF Enable was set. */
	#numVfs: number;
	#wasEnabled: boolean;

	constructor(config: Uint8Array, writable: Uint8Array, offset: number) {
		this.#config = config;
		this.#writable = writable;
		this.offset = offset;
		this.#numVfs = this.#load(NUM_VFS);
		this.#wasEnabled = this.enabled;
	}

	/** A config write from `start` to `end` has changed the registers. @returns what comes of it, undefined for nothing */
	written(start: number, end: number): VirtualFunctionChange | undefined {
		const at = start - this.offset;
		if (at >= CAPABILITY_END || end <= this.offset) return undefined;
		const { enabled } = this;
		const was = this.#wasEnabled;
		this.#wasEnabled = enabled;
		if (enabled && was) store(this.#config, this.offset + NUM_VFS, 2, this.#numVfs);
		else this.#numVfs = this.#load(NUM_VFS);
		if (enabled !== was) return enabled ? "appear" : "vanish";
		// Those that a reset hid are not wanted any more.
		const released = !enabled && this.#numVfs === 0 && at < NUM_VFS + 2 && end - this.offset > NUM_VFS;
		return released ? "vanish" : undefined;
	}

	/** VF Enable. */
	get enabled(): boolean {
		return (this.#load(CONTROL) & VF_ENABLE) !== 0;
	}

	/** VF Memory Space Enable: the virtual functions decode their BARs. */
	get memoryEnabled(): boolean {
		return (this.#load(CONTROL) & VF_MEMORY_ENABLE) !== 0;
	}

	get totalVfs(): number {
		return this.#load(TOTAL_VFS);
	}

	/** How many virtual functions there are while they are enabled. A driver that asks for too many gets all. */
	get count(): number {
		return Math.min(this.#numVfs, this.#load(INITIAL_VFS), this.totalVfs);
	}

	/** Device id of the virtual functions. */
	get vfDevice(): number {
		return this.#load(VF_DEVICE);
	}

	/** The address of virtual function `index`, or undefined when its routing id would not be one (section 9.2.1.2). */
	address(physical: PciAddress, index: number): PciAddress | undefined {
		const first = (physical.bus << 8) | (physical.device << 3) | physical.function;
		const routingId = first + this.#load(FIRST_VF_OFFSET) + this.#load(VF_STRIDE) * index;
		if (routingId > 0xffff || routingId === first) return undefined;
		return {
			domain: physical.domain,
			bus: routingId >>> 8,
			device: (routingId >>> 3) & 0x1f,
			function: routingId & 7,
		};
	}

	/** Where a BAR of virtual function `index` decodes: they lie one behind the other. */
	barAddress(bar: BarDescription, index: number): bigint {
		const register = this.offset + VF_BAR_0 + 4 * bar.index;
		const low = BigInt((load(this.#config, register, 4) & ~0xf) >>> 0);
		const high = bar.kind === "mem64" ? BigInt(load(this.#config, register + 4, 4)) : 0n;
		return ((high << 32n) | low) + BigInt(bar.size) * BigInt(index);
	}

	/** Which BARs each virtual function has, from the bits that can be written in their registers. */
	get bars(): BarDescription[] {
		const bars: BarDescription[] = [];
		for (let index = 0; index < 6; index++) {
			const register = this.offset + VF_BAR_0 + 4 * index;
			const type = load(this.#config, register, 4);
			const wide = (type & MEMORY_TYPE_64) !== 0 && index < 5;
			const mask = load(this.#writable, register, 4) + (wide ? load(this.#writable, register + 4, 4) * 2 ** 32 : 0);
			if (mask === 0) continue;
			const size = wide ? 2 ** 64 - mask : 2 ** 32 - mask;
			// Registers that something else lies over say no size that there can be.
			const sound = size >= SMALLEST_BAR && size <= LARGEST_BAR && Number.isInteger(Math.log2(size));
			if (!sound) continue;
			const prefetchable = (type & PREFETCHABLE) !== 0;
			bars.push({ index, kind: wide ? "mem64" : "mem32", size, prefetchable, backing: "memory" });
			if (wide) index++;
		}
		return bars;
	}

	/** After a reset there are no virtual functions, and what it takes to make some is to be set again. */
	reset(): void {
		store(this.#config, this.offset + CONTROL, 2, this.#load(CONTROL) & ~(VF_ENABLE | VF_MEMORY_ENABLE));
		store(this.#config, this.offset + NUM_VFS, 2, 0);
		this.#numVfs = 0;
		this.#wasEnabled = false;
	}

	#load(register: number): number {
		return load(this.#config, this.offset + register, 2);
	}
}
