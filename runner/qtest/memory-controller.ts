/**
 * The memory controller hub of the qtest machine: function 00:00.0 of a q35, as far as a driver of PCI needs it.
 *
 * @module
 */
import type { AccessWidth } from "../../core/kernel.ts";
import type { DirectArea, EcamWindow, GuestBar, GuestPciFunction, PciSlot } from "../../core/machine/mod.ts";

/** Where the PCI Express window is: 64 bits (Intel 3 Series Express Chipset datasheet, section 5.1.16). */
export const PCIEXBAR = 0x60;

const SIZE = 256;
const NOTHING: readonly never[] = [];
const ENABLE = 1;
/** Buses in the window, by bits 2:1. The last value is reserved. */
const BUSES = [256, 128, 64, 0] as const;
const BYTES_PER_BUS = 1 << 20;

/** The hub: its identity, and the register that opens the window to configuration space. */
export class MemoryController implements GuestPciFunction {
	readonly name = "memory-controller";
	readonly #registers = new Uint8Array(SIZE);
	readonly #view = new DataView(this.#registers.buffer);
	readonly #onWindow: (window: EcamWindow | undefined) => void;

	/** @param onWindow learns where configuration space is to be found in memory, whenever that changes */
	constructor(onWindow: (window: EcamWindow | undefined) => void) {
		this.#onWindow = onWindow;
		this.reset();
	}

	bar(_index: number): GuestBar | undefined {
		return undefined;
	}

	plug(_slot: PciSlot): void {}

	unplug(): void {}

	configRead(offset: number, width: AccessWidth): number {
		if (offset + width > SIZE) return 2 ** (8 * width) - 1;
		let value = 0;
		for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.#registers[offset + i] ?? 0);
		return value;
	}

	configWrite(offset: number, width: AccessWidth, value: number): void {
		let changed = false;
		for (let i = 0; i < width; i++) {
			const at = offset + i;
			if (at < PCIEXBAR || at >= PCIEXBAR + 8) continue;
			this.#registers[at] = (value >>> (8 * i)) & 0xff;
			changed = true;
		}
		if (changed) this.#onWindow(this.#window());
	}

	barRead(_bar: number, _offset: number, width: AccessWidth): number {
		return 2 ** (8 * width) - 1;
	}

	barRead64(_bar: number, _offset: number): bigint {
		return 0xffff_ffff_ffff_ffffn;
	}

	barWrite(_bar: number, _offset: number, _width: AccessWidth, _value: number): void {}

	barWrite64(_bar: number, _offset: number, _value: bigint): void {}

	directAreas(_bar: number): readonly DirectArea[] {
		return NOTHING;
	}

	reset(): void {
		this.#registers.fill(0);
		this.#view.setUint32(0, 0x29c0_8086, true);
		this.#view.setUint32(8, 0x0600_0002, true);
		// The address that the chipset has after power-on, with the window closed.
		this.#view.setUint32(PCIEXBAR, 0xb000_0000, true);
		this.#onWindow(undefined);
	}

	[Symbol.dispose](): void {}

	#window(): EcamWindow | undefined {
		const low = this.#view.getUint32(PCIEXBAR, true);
		const buses = BUSES[(low >>> 1) & 3] ?? 0;
		if ((low & ENABLE) === 0 || buses === 0) return undefined;
		const high = this.#view.getUint32(PCIEXBAR + 4, true) & 0xf;
		const size = buses * BYTES_PER_BUS;
		return { base: high * 2 ** 32 + Math.floor(low / size) * size, firstBus: 0, lastBus: buses - 1 };
	}
}
