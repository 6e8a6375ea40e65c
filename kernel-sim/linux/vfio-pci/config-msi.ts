/**
 * Writes to the MSI capability: the user has a copy of the message and switches only what SET_IRQS set up.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import { EIO } from "../../../core/uapi/errno.ts";
import { PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, PCI_MSI_FLAGS_QSIZE } from "../../../core/uapi/pci_regs.ts";
import { load, store } from "../../hardware/little-endian.ts";
import { covers, type RegisterEffect } from "./config-effects.ts";
import type { ConfigSpace } from "./config-space.ts";

/** The write path of the MSI capability (contract D.4.1). */
export class MsiEffect implements RegisterEffect {
	readonly offset: number;
	readonly #config: ConfigSpace;

	constructor(config: ConfigSpace, offset: number) {
		this.#config = config;
		this.offset = offset;
	}

	write(at: number, width: AccessWidth, value: number): number {
		const config = this.#config;
		const answer = config.store(this.offset + at, width, value);
		if (answer < 0 || !covers(at, width, PCI_MSI_FLAGS)) return answer;
		const register = this.offset + PCI_MSI_FLAGS;
		let flags = load(config.shadow, register, 1);
		const vectors = config.host.msiVectors;
		if (vectors === 0) flags &= ~PCI_MSI_FLAGS_ENABLE;
		const most = vectors === 0 ? 0 : Math.ceil(Math.log2(vectors));
		if ((flags & PCI_MSI_FLAGS_QSIZE) >>> 4 > most) flags = (flags & ~PCI_MSI_FLAGS_QSIZE) | (most << 4);
		store(config.shadow, register, 1, flags);
		const hardware = config.load(register, 2);
		if (hardware < 0) return -EIO;
		config.fn.configWrite(register, 2, hardware);
		return answer;
	}
}
