/**
 * The power of an open device: the states a guest asks for, and the sleep that VFIO offers on top.
 *
 * @module
 */
import { EINVAL } from "../../../core/uapi/errno.ts";
import { PCI_CAP_ID_PM, PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET } from "../../../core/uapi/pci_regs.ts";
import { findCapability } from "../../hardware/config-walk.ts";
import type { PciFunction } from "../../hardware/function.ts";
import type { EventFd } from "../eventfd.ts";
import type { Intx } from "./intx.ts";
import { setPowerState } from "./reset.ts";
import { SavedState } from "./saved-state.ts";

const D3HOT = 3;

/** Power management of an open device. */
export class DevicePower {
	readonly #fn: PciFunction;
	readonly #intx: Intx;
	/** Settings that D3hot loses, where the device does not keep them. */
	#saved: SavedState | undefined;
	#engaged = false;
	#asleep = false;
	#wakeup: EventFd | undefined;

	constructor(fn: PciFunction, intx: Intx) {
		this.#fn = fn;
		this.#intx = intx;
	}

	/** VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY is in force: what is mapped cannot be touched. */
	get lowPower(): boolean {
		return this.#engaged;
	}

	/** Changes the power state, keeping the settings. @param state 0 to 3 */
	setState(state: number): void {
		if (state === D3HOT && this.#fn.powerState < D3HOT && !this.#keepsSettings) this.#saved = SavedState.of(this.#fn);
		setPowerState(this.#fn, state);
		if (state !== 0 || this.#fn.powerState !== 0) return;
		this.#saved?.restore();
		this.#saved = undefined;
	}

	/**
	 * The device may sleep whenever nobody uses it.
	 *
	 * @param wakeup signalled at the first use, which ends it; a reference that is taken over on success
	 * @returns 0, or -EINVAL when it may already
	 */
	enterLowPower(wakeup: EventFd | undefined): number {
		if (this.#engaged) return -EINVAL;
		this.#engaged = true;
		this.#wakeup = wakeup;
		return 0;
	}

	exitLowPower(): void {
		this.#engaged = false;
		this.#wakeup?.unreference();
		this.#wakeup = undefined;
	}

	/** Before every call on the device. */
	wake(): void {
		if (!this.#asleep) return;
		this.#asleep = false;
		this.setState(0);
		this.#intx.resume();
		if (!this.#wakeup) return;
		this.#wakeup.signal();
		this.exitLowPower();
	}

	/** After every call on the device. */
	idle(): void {
		if (!this.#engaged || this.#asleep) return;
		this.#asleep = true;
		this.#intx.suspend();
		this.setState(D3HOT);
	}

	/** The last user is gone: awake, in D0, and no eventfd held. */
	close(): void {
		this.wake();
		this.exitLowPower();
		this.setState(0);
	}

	get #keepsSettings(): boolean {
		const pm = findCapability(this.#fn.config, PCI_CAP_ID_PM);
		return pm === 0 || (this.#fn.configRead(pm + PCI_PM_CTRL, 2) & PCI_PM_CTRL_NO_SOFT_RESET) !== 0;
	}
}
