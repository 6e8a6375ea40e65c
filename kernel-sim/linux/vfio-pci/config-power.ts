/**
 * Writes to the power management capability: a power state is the kernel's to change.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK } from "../../../core/uapi/pci_regs.ts";
import { covers, type RegisterEffect } from "./config-effects.ts";
import type { ConfigSpace } from "./config-space.ts";

/** The write path of the power management capability. */
export class PowerEffect implements RegisterEffect {
	readonly offset: number;
	readonly #config: ConfigSpace;

	constructor(config: ConfigSpace, offset: number) {
		this.#config = config;
		this.offset = offset;
	}

	write(at: number, width: AccessWidth, value: number): number {
		const answer = this.#config.store(this.offset + at, width, value);
		if (answer >= 0 && covers(at, width, PCI_PM_CTRL))
			this.#config.host.setPowerState((value >>> (8 * (PCI_PM_CTRL - at))) & PCI_PM_CTRL_STATE_MASK);
		return answer;
	}
}
