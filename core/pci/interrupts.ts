/**
 * Which of INTx, MSI and MSI-X a function uses: the kernel arms one at a time, and so do we.
 *
 * @module
 */
import { attempt, type InterruptHost } from "./interrupt-host.ts";
import type { Intx } from "./intx.ts";
import type { Msi } from "./msi.ts";
import type { Msix } from "./msix.ts";

/** How a function interrupts at present. */
export type InterruptMode = "none" | "intx" | "msi" | "msix";

/** Switches between the kinds of interrupt that a function has. */
export class Interrupts {
	readonly intx: Intx | undefined;
	readonly msi: Msi | undefined;
	readonly msix: Msix | undefined;
	readonly #host: InterruptHost;
	readonly #onMode: (mode: InterruptMode) => void;
	#mode: InterruptMode = "none";
	/** What the guest's enable bits said when they were last looked at. */
	#msiWanted = false;
	#msixWanted = false;

	/** @param onMode learns of each change */
	constructor(
		kinds: { readonly intx: Intx | undefined; readonly msi: Msi | undefined; readonly msix: Msix | undefined },
		host: InterruptHost,
		onMode: (mode: InterruptMode) => void,
	) {
		this.intx = kinds.intx;
		this.msi = kinds.msi;
		this.msix = kinds.msix;
		this.#host = host;
		this.#onMode = onMode;
	}

	get mode(): InterruptMode {
		return this.#mode;
	}

	/** Arms INTx, where there is one. @throws VfioError `interrupt-failed` */
	enableIntx(): void {
		if (!this.intx || this.#mode === "intx") return;
		this.leave();
		this.intx.enable();
		this.#enter("intx");
	}

	/** Leaves whatever is active, without entering INTx. */
	leave(): void {
		const mode = this.#mode;
		if (mode === "intx") this.intx?.disable();
		else if (mode === "msi") this.msi?.disable();
		else if (mode === "msix") this.msix?.disable();
		if (mode !== "none") this.#enter("none");
	}

	/** The guest's configuration is back in power-on state: nothing is wanted any more. */
	forget(): void {
		this.#msiWanted = false;
		this.#msixWanted = false;
	}

	/** The guest has written its MSI capability. */
	msiWritten(): void {
		const { msi } = this;
		if (!msi) return;
		const wanted = msi.guestEnabled;
		if (wanted && !this.#msiWanted) {
			this.leave();
			msi.enable();
			if (msi.active) this.#enter("msi");
		} else if (!wanted && this.#msiWanted && this.#mode !== "msix") {
			this.#backToIntx();
		} else {
			msi.update();
		}
		this.#msiWanted = wanted;
	}

	/** The guest has written its MSI-X capability. */
	msixWritten(): void {
		const { msix } = this;
		if (!msix) return;
		const wanted = msix.guestEnabled;
		if (wanted && !this.#msixWanted) {
			this.leave();
			// Before anything can fire, so that what fires is taken for what it is.
			this.#enter("msix");
			msix.enable();
		} else if (!wanted && this.#msixWanted && this.#mode !== "msi") {
			this.#backToIntx();
		} else {
			msix.update();
		}
		this.#msixWanted = wanted;
	}

	#backToIntx(): void {
		this.leave();
		attempt(this.#host, () => this.enableIntx());
	}

	#enter(mode: InterruptMode): void {
		if (mode === this.#mode) return;
		this.#mode = mode;
		this.#onMode(mode);
	}
}
