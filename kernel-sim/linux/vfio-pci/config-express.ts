/**
 * Writes to the PCI Express and Advanced Features capabilities: function level reset and the sizes of requests.
 *
 * @module
 */
import type { AccessWidth } from "../../../core/kernel.ts";
import {
	PCI_AF_CAP,
	PCI_AF_CAP_FLR,
	PCI_AF_CAP_TP,
	PCI_AF_CTRL,
	PCI_AF_CTRL_FLR,
	PCI_EXP_DEVCAP,
	PCI_EXP_DEVCAP_FLR,
	PCI_EXP_DEVCTL,
	PCI_EXP_DEVCTL_BCR_FLR,
	PCI_EXP_DEVCTL_PAYLOAD,
	PCI_EXP_DEVCTL_READRQ,
} from "../../../core/uapi/pci_regs.ts";
import { clearBits, load } from "../../hardware/little-endian.ts";
import { covers, type RegisterEffect } from "./config-effects.ts";
import type { ConfigSpace } from "./config-space.ts";

const PAYLOAD_SHIFT = 5;
const READRQ_SHIFT = 12;
/** 4096 bytes: the highest encoding there is (PCIe 6.0, section 7.5.3.4). */
const LARGEST_READRQ = 5;

/** The write path of the PCI Express capability. */
export class ExpressEffect implements RegisterEffect {
	readonly offset: number;
	readonly #config: ConfigSpace;

	constructor(config: ConfigSpace, offset: number) {
		this.#config = config;
		this.offset = offset;
	}

	write(at: number, width: AccessWidth, value: number): number {
		const { shadow, fn, host } = this.#config;
		const register = this.offset + PCI_EXP_DEVCTL;
		const before = load(shadow, register, 2) & PCI_EXP_DEVCTL_READRQ;
		const answer = this.#config.store(this.offset + at, width, value);
		if (answer < 0 || !covers(at, width, PCI_EXP_DEVCTL + 1)) return answer;
		const control = load(shadow, register, 2);
		if ((control & PCI_EXP_DEVCTL_READRQ) !== before) this.#setReadRequest(control);
		if ((control & PCI_EXP_DEVCTL_BCR_FLR) === 0) return answer;
		clearBits(shadow, register, 2, PCI_EXP_DEVCTL_BCR_FLR);
		if ((fn.configRead(this.offset + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR) !== 0) host.tryReset();
		return answer;
	}

	/** Reads may become as large as the user says, but not smaller than the host's payload size: some devices break. */
	#setReadRequest(control: number): void {
		const wanted = (control & PCI_EXP_DEVCTL_READRQ) >>> READRQ_SHIFT;
		if (wanted > LARGEST_READRQ) return;
		const register = this.offset + PCI_EXP_DEVCTL;
		const hardware = this.#config.fn.configRead(register, 2);
		const size = Math.max(wanted, (hardware & PCI_EXP_DEVCTL_PAYLOAD) >>> PAYLOAD_SHIFT);
		this.#config.fn.configWrite(register, 2, (hardware & ~PCI_EXP_DEVCTL_READRQ) | (size << READRQ_SHIFT));
	}
}

/** The write path of the Advanced Features capability. */
export class AdvancedFeaturesEffect implements RegisterEffect {
	readonly offset: number;
	readonly #config: ConfigSpace;

	constructor(config: ConfigSpace, offset: number) {
		this.#config = config;
		this.offset = offset;
	}

	write(at: number, width: AccessWidth, value: number): number {
		const { shadow, fn, host } = this.#config;
		const answer = this.#config.store(this.offset + at, width, value);
		const register = this.offset + PCI_AF_CTRL;
		if (answer < 0 || (load(shadow, register, 1) & PCI_AF_CTRL_FLR) === 0) return answer;
		clearBits(shadow, register, 1, PCI_AF_CTRL_FLR);
		const both = PCI_AF_CAP_FLR | PCI_AF_CAP_TP;
		if ((fn.configRead(this.offset + PCI_AF_CAP, 1) & both) === both) host.tryReset();
		return answer;
	}
}
