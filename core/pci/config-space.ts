/**
 * The configuration space a guest sees: the device's own registers, with bits of a private copy in their place wherever
 * the guest must not see the host's.
 *
 * @module
 */
import { allOnes, load, store } from "../bytes.ts";
import type { AccessWidth } from "../kernel.ts";

/** The device's own configuration space. Neither call throws; a failed read answers all ones. */
export interface ConfigHardware {
	read(offset: number, width: AccessWidth): number;
	write(offset: number, width: AccessWidth, value: number): void;
}

/** The copy, and what each of its bits is for. All four arrays have the length of the guest's configuration space. */
export class ConfigRegisters {
	/** The copy's value. */
	readonly cfg: Uint8Array;
	/** Bits of the copy that a guest's write changes. */
	readonly wmask: Uint8Array;
	/** Bits of the copy that a guest clears by writing one; no bit is in `wmask` as well. */
	readonly w1c: Uint8Array;
	/** Bits that a guest reads from the copy. All others come from the device. */
	readonly emu: Uint8Array;

	/** @param initial what the device reads, as long as the guest's configuration space: 256 or 4096 bytes */
	constructor(initial: Uint8Array) {
		this.cfg = initial.slice();
		this.wmask = new Uint8Array(initial.length);
		this.w1c = new Uint8Array(initial.length);
		this.emu = new Uint8Array(initial.length);
	}

	/** The copy's value of one register. */
	get(offset: number, width: AccessWidth): number {
		return load(this.cfg, offset, width);
	}

	/** Changes the copy, whatever `wmask` says. */
	set(offset: number, width: AccessWidth, value: number): void {
		store(this.cfg, offset, width, value);
	}

	/**
	 * Takes a register, or some of its bits, out of the device's hands: the guest reads `value` there.
	 *
	 * @param writable the bits that the guest's writes change
	 * @param bits the bits this is about; all when left out
	 */
	emulate(offset: number, width: AccessWidth, value: number, writable = 0, bits = 0xffffffff): void {
		store(this.cfg, offset, width, (load(this.cfg, offset, width) & ~bits) | (value & bits));
		store(this.wmask, offset, width, (load(this.wmask, offset, width) & ~bits) | (writable & bits));
		store(this.emu, offset, width, load(this.emu, offset, width) | bits);
	}

	/** An independent copy of the copy. */
	clone(): ConfigRegisters {
		const clone = new ConfigRegisters(this.cfg);
		clone.wmask.set(this.wmask);
		clone.w1c.set(this.w1c);
		clone.emu.set(this.emu);
		return clone;
	}

	/** Takes a stretch out of the device's hands and makes it read zero. @param end one past its last byte */
	blank(start: number, end: number): void {
		this.cfg.fill(0, start, end);
		this.wmask.fill(0, start, end);
		this.w1c.fill(0, start, end);
		this.emu.fill(0xff, start, end);
	}
}

/**
 * Merges {@link ConfigRegisters} with the device. Neither read nor write allocates or throws, whatever a guest asks for.
 *
 * @example
 * ```ts
 * const space = new ConfigSpace(registers, hardware);
 * space.write(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
 * space.read(PCI_BASE_ADDRESS_0, 4); // the size mask of the copy, never the host's address
 * ```
 */
export class ConfigSpace {
	#registers: ConfigRegisters;
	readonly #hardware: ConfigHardware;

	constructor(registers: ConfigRegisters, hardware: ConfigHardware) {
		this.#registers = registers;
		this.#hardware = hardware;
	}

	/** The copy. */
	get registers(): ConfigRegisters {
		return this.#registers;
	}

	/** Begins anew with another copy, as after a reset or on another kind of bus. */
	restart(registers: ConfigRegisters): void {
		this.#registers = registers;
	}

	/** Bytes: 256 or 4096. */
	get size(): number {
		return this.#registers.cfg.length;
	}

	/** Whether this is an access that configuration cycles can make: 1, 2 or 4 bytes inside one dword. */
	accepts(offset: number, width: number): boolean {
		if (width !== 1 && width !== 2 && width !== 4) return false;
		return offset >= 0 && offset < this.size && (offset | 0) === offset && (offset & 3) + width <= 4;
	}

	/**
	 * A guest's read. The device is asked unless every bit is emulated, and nothing is cached: reading may have effects.
	 *
	 * @returns unsigned; all ones past the end, across a dword, and when the device answers all ones: then it is gone or
	 *   the read failed, and a driver must be able to tell
	 */
	read(offset: number, width: AccessWidth): number {
		const ones = allOnes(width);
		if (!this.accepts(offset, width)) return ones;
		const { emu, cfg } = this.#registers;
		const emulated = load(emu, offset, width);
		if (emulated === ones) return load(cfg, offset, width);
		const physical = this.#hardware.read(offset, width);
		if (emulated === 0 || physical === ones) return physical;
		return ((load(cfg, offset, width) & emulated) | (physical & ~emulated)) >>> 0;
	}

	/**
	 * A guest's write: to the device first, always and as it is, since the kernel filters what a guest may not do; then
	 * to the copy, by its masks.
	 *
	 * @returns false when it was no configuration access and nothing was done
	 */
	write(offset: number, width: AccessWidth, value: number): boolean {
		if (!this.accepts(offset, width)) return false;
		this.#hardware.write(offset, width, (value & allOnes(width)) >>> 0);
		const { cfg, wmask, w1c } = this.#registers;
		for (let i = 0; i < width; i++) {
			const at = offset + i;
			const byte = (value >>> (8 * i)) & 0xff;
			const writable = wmask[at] as number;
			const kept = ((cfg[at] as number) & ~writable) | (byte & writable);
			cfg[at] = kept & ~(byte & (w1c[at] as number));
		}
		return true;
	}
}
