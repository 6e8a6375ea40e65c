/**
 * What a write to configuration space may change beyond the registers: data, so that each room can act on its own.
 *
 * @module
 */
import { PCI_BASE_ADDRESS_0, PCI_COMMAND, PCI_MSIX_FLAGS, PCI_ROM_ADDRESS } from "../uapi/pci_regs.ts";
import type { FlrControl } from "./capabilities.ts";
import type { MsiCapability } from "./msi-capability.ts";
import type { MsixCapability } from "./msix-capability.ts";
import type { PowerCapability } from "./power.ts";

/** Bits of an effect set, in the order in which they are acted on. */
export const EFFECT_MSI = 1;
export const EFFECT_MSIX = 2;
export const EFFECT_POWER = 4;
/** COMMAND's second byte: INTx disable. */
export const EFFECT_INTX = 8;
/** A BAR, the ROM BAR, or one of COMMAND's enables. */
export const EFFECT_BARS = 16;
/** The guest may have reset the function. */
export const EFFECT_FLR = 32;

/** For each byte of configuration space, the effects of writing it. */
export class EffectMap {
	readonly #effects: Uint8Array;

	/** @param size bytes of configuration space */
	constructor(
		size: number,
		rooms: {
			readonly msi: MsiCapability | undefined;
			readonly msix: MsixCapability | undefined;
			readonly power: PowerCapability | undefined;
			readonly flrControls: readonly FlrControl[];
		},
	) {
		this.#effects = new Uint8Array(size);
		const { msi, msix, power, flrControls } = rooms;
		if (msi) this.#add(EFFECT_MSI, msi.offset, msi.size);
		if (msix) this.#add(EFFECT_MSIX, msix.offset + PCI_MSIX_FLAGS, 2);
		if (power) this.#add(EFFECT_POWER | EFFECT_BARS, power.control, 1);
		for (const { offset } of flrControls) this.#add(EFFECT_FLR, offset, 1);
		this.#add(EFFECT_BARS, PCI_COMMAND, 1);
		this.#add(EFFECT_INTX, PCI_COMMAND + 1, 1);
		this.#add(EFFECT_BARS, PCI_BASE_ADDRESS_0, 24);
		this.#add(EFFECT_BARS, PCI_ROM_ADDRESS, 4);
	}

	/** @returns the `EFFECT_*` bits of a write to these bytes */
	of(offset: number, width: number): number {
		let effects = 0;
		for (let at = offset; at < offset + width; at++) effects |= this.#effects[at] ?? 0;
		return effects;
	}

	#add(effect: number, offset: number, length: number): void {
		for (let at = offset; at < offset + length; at++) this.#effects[at] = (this.#effects[at] ?? 0) | effect;
	}
}
