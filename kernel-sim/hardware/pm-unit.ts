/**
 * The Power Management capability at work: which state the function is in, and where it may go.
 *
 * @module
 */
import {
	PCI_PM_CTRL,
	PCI_PM_CTRL_NO_SOFT_RESET,
	PCI_PM_CTRL_STATE_MASK,
	PCI_PM_PMC,
} from "../../core/uapi/pci_regs.ts";
import { load, store } from "./little-endian.ts";

/** A device power state: D0 (working) to D3hot. */
export type PowerState = 0 | 1 | 2 | 3;

/** PMC bits that say that D1 and D2 exist. */
const PM_D1 = 0x0200;
const PM_D2 = 0x0400;

/** The function's power state. Its registers are in the configuration space; this keeps what they mean. */
export class PmUnit {
	/** Where the capability is. */
	readonly offset: number;
	state: PowerState = 0;
	readonly #config: Uint8Array;

	constructor(config: Uint8Array, offset: number) {
		this.#config = config;
		this.offset = offset;
		this.changed();
	}

	/** D3hot to D0 is a reset. */
	get resetsOnWake(): boolean {
		return (load(this.#config, this.offset + PCI_PM_CTRL, 2) & PCI_PM_CTRL_NO_SOFT_RESET) === 0;
	}

	/** The registers were replaced: takes the state over. */
	changed(): void {
		this.state = this.#wanted;
	}

	/** The control register was written: enters the state, or drops it. @returns whether the function is reset by that */
	written(): boolean {
		const before = this.state;
		if (this.#canEnter(this.#wanted, before)) this.state = this.#wanted;
		else {
			const control = load(this.#config, this.offset + PCI_PM_CTRL, 2) & ~PCI_PM_CTRL_STATE_MASK;
			store(this.#config, this.offset + PCI_PM_CTRL, 2, control | before);
		}
		return before === 3 && this.state === 0 && this.resetsOnWake;
	}

	get #wanted(): PowerState {
		return (load(this.#config, this.offset + PCI_PM_CTRL, 1) & PCI_PM_CTRL_STATE_MASK) as PowerState;
	}

	/** A write of a state that is not there, or that leads from D3hot elsewhere than to D0, is dropped (PM 1.2, 3.2.4). */
	#canEnter(wanted: PowerState, before: PowerState): boolean {
		const capabilities = load(this.#config, this.offset + PCI_PM_PMC, 2);
		if (wanted === 1) return before <= 1 && (capabilities & PM_D1) !== 0;
		if (wanted === 2) return before <= 2 && (capabilities & PM_D2) !== 0;
		return true;
	}
}
