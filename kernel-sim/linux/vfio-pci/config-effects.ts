/**
 * Registers whose writes do more than store bits.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import {
	PCI_CAP_ID_AF,
	PCI_CAP_ID_EXP,
	PCI_CAP_ID_MSI,
	PCI_CAP_ID_PM,
	PCI_CAP_ID_VPD,
} from "../../../core/uapi/pci_regs.ts";
import { AdvancedFeaturesEffect, ExpressEffect } from "./config-express.ts";
import { MsiEffect } from "./config-msi.ts";
import { PowerEffect } from "./config-power.ts";
import type { ConfigSpace } from "./config-space.ts";
import { VpdEffect } from "./config-vpd.ts";

/** The write path of one capability, or of the header. */
export interface RegisterEffect {
	/** Where the capability is. */
	readonly offset: number;
	/** @param at bytes from {@link offset} @returns 0 or a negative errno */
	write(at: number, width: AccessWidth, value: number): number;
}

/** The write path of a capability of the first 256 bytes; undefined when its bits are all there is to it. */
export function effectOf(config: ConfigSpace, id: number, offset: number): RegisterEffect | undefined {
	switch (id) {
		case PCI_CAP_ID_PM:
			return new PowerEffect(config, offset);
		case PCI_CAP_ID_VPD:
			return new VpdEffect(config, offset);
		case PCI_CAP_ID_MSI:
			return new MsiEffect(config, offset);
		case PCI_CAP_ID_EXP:
			return new ExpressEffect(config, offset);
		case PCI_CAP_ID_AF:
			return new AdvancedFeaturesEffect(config, offset);
		default:
			return undefined;
	}
}

/** A write of `width` bytes at `at` covers the byte at `register`. */
export function covers(at: number, width: AccessWidth, register: number): boolean {
	return at <= register && at + width > register;
}
