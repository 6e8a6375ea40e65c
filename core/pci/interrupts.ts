/**
 * Which of INTx, MSI and MSI-X a function uses: the kernel arms one at a time, and so do we.
 *
 * @module
 */
import { attempt } from "../attempt.ts";
import type { InterruptHost } from "./interrupt-host.ts";
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
	/** A change is under way: what a machine asks for from within it is done after it. */
	#changing = false;
	readonly #later: (() => void)[] = [];
	#closed = false;

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

	/**
	 * Arms INTx, where there is one; or the messages that the guest has switched on already.
	 *
	 * @throws VfioError `interrupt-failed`
	 */
	enableIntx(): void {
		this.#change(() => this.#follow());
	}

	/** Leaves whatever is active, without entering INTx. */
	leave(): void {
		this.#change(() => this.#leave());
	}

	/** Leaves whatever is active, at once and for good. */
	close(): void {
		this.#closed = true;
		this.#later.length = 0;
		this.#leave();
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
		this.#change(() => {
			const wanted = msi.guestEnabled;
			const edge = wanted !== this.#msiWanted;
			this.#msiWanted = wanted;
			if (edge && wanted) this.#enterMsi(msi);
			else if (edge && this.#mode !== "msix") this.#fallBack();
			else msi.update();
		});
	}

	/** The guest has written its MSI-X capability. */
	msixWritten(): void {
		const { msix } = this;
		if (!msix) return;
		this.#change(() => {
			const wanted = msix.guestEnabled;
			const edge = wanted !== this.#msixWanted;
			this.#msixWanted = wanted;
			if (edge && wanted) this.#enterMsix(msix);
			else if (edge && this.#mode !== "msi") this.#fallBack();
			else msix.update();
		});
	}

	/** One change at a time, in the order in which they are asked for. @throws what the first of them throws */
	#change(action: () => void): void {
		if (this.#closed) return;
		if (this.#changing) {
			this.#later.push(action);
			return;
		}
		this.#changing = true;
		try {
			action();
			for (let next = this.#later.shift(); next; next = this.#later.shift()) attempt(this.#host, next);
		} finally {
			this.#changing = false;
			this.#later.length = 0;
		}
	}

	#enableIntx(): void {
		if (!this.intx || this.#mode === "intx") return;
		this.#leave();
		// The machine heard of it, and may have taken the function out.
		if (this.#closed) return;
		this.intx.enable();
		if (this.intx.active) this.#enter("intx");
	}

	#enterMsi(msi: Msi): void {
		this.#msiWanted = true;
		this.#leave();
		if (this.#closed) return;
		msi.enable();
		if (msi.active) this.#enter("msi");
	}

	#enterMsix(msix: Msix): void {
		this.#msixWanted = true;
		this.#leave();
		if (this.#closed) return;
		// Before anything can fire, so that what fires is taken for what it is.
		this.#enter("msix");
		if (!this.#closed) msix.enable();
	}

	/** From messages to what is left: the other kind, where a guest has both switched on; or INTx. */
	#fallBack(): void {
		this.#leave();
		attempt(this.#host, () => this.#follow());
	}

	/** What the guest's registers say. @throws VfioError `interrupt-failed`, of INTx */
	#follow(): void {
		const { msi, msix } = this;
		if (msix?.guestEnabled) this.#enterMsix(msix);
		else if (msi?.guestEnabled) this.#enterMsi(msi);
		else this.#enableIntx();
	}

	#leave(): void {
		const mode = this.#mode;
		this.intx?.disable();
		this.msi?.disable();
		this.msix?.disable();
		if (mode !== "none") this.#enter("none");
	}

	#enter(mode: InterruptMode): void {
		if (mode === this.#mode) return;
		this.#mode = mode;
		this.#onMode(mode);
	}
}
