/**
 * How a function is told to reset itself: PCI Express and Advanced Features each have a bit for it.
 *
 * @module
 */
import {
	PCI_AF_CAP,
	PCI_AF_CAP_FLR,
	PCI_AF_CAP_TP,
	PCI_AF_CTRL,
	PCI_AF_CTRL_FLR,
	PCI_EXP_DEVCAP,
	PCI_EXP_DEVCAP_FLR,
	PCI_EXP_DEVCTL,
} from "../../core/uapi/pci_regs.ts";
import { load } from "./little-endian.ts";

/** Initiate Function Level Reset, in the upper byte of DEVCTL. */
const DEVCTL_FLR_UPPER = 0x80;

/** Recognizes the writes that start a function level reset. The bits themselves always read as zero. */
export class ResetUnit {
	/** DEVCAP offers a function level reset. */
	readonly flr: boolean;
	/** Advanced Features offers one. */
	readonly afFlr: boolean;
	readonly #devctl: number;
	readonly #afControl: number;

	/** @param express where the PCI Express capability is, 0 for none @param af where Advanced Features is */
	constructor(config: Uint8Array, express: number, af: number) {
		const both = PCI_AF_CAP_FLR | PCI_AF_CAP_TP;
		this.flr = express !== 0 && (load(config, express + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR) !== 0;
		this.afFlr = af !== 0 && (load(config, af + PCI_AF_CAP, 1) & both) === both;
		this.#devctl = express + PCI_EXP_DEVCTL + 1;
		this.#afControl = af + PCI_AF_CTRL;
	}

	/** This config write starts a reset. */
	startedBy(offset: number, width: number, value: number): boolean {
		if (this.flr && (byteAt(this.#devctl, offset, width, value) & DEVCTL_FLR_UPPER) !== 0) return true;
		return this.afFlr && (byteAt(this.#afControl, offset, width, value) & PCI_AF_CTRL_FLR) !== 0;
	}
}

/** What a write of `value` puts into the byte `at`; 0 when it does not reach there. */
function byteAt(at: number, offset: number, width: number, value: number): number {
	return at >= offset && at < offset + width ? (value >>> (8 * (at - offset))) & 0xff : 0;
}
