/**
 * A window to configuration space: the guest writes an address into one register and reads or writes data in another.
 * Addresses that mean configuration space lead to the one the guest sees; all others to the device.
 *
 * @module
 */
import { load, store } from "../../bytes.ts";
import type { AccessWidth } from "../../kernel.ts";
import type { BarQuirk, QuirkHost, QuirkPlace } from "./quirk.ts";

/** How a window is built. */
export interface ConfigWindow {
	/** 0 to 5. */
	readonly bar: number;
	/** Where the address register is, 4 bytes. */
	readonly address: number;
	/** Where the data register is, 4 bytes. */
	readonly data: number;
	/** Registers of 4 bytes that have to be odd for the window to be open; none when left out. */
	readonly switches?: readonly number[];
	/** An address is one of configuration space when its bits outside `mask` are `value`; those inside are the offset. */
	readonly matches: readonly { readonly value: number; readonly mask: number }[];
}

/** The quirk for a window. */
export function configWindow(window: ConfigWindow): QuirkPlace {
	const { bar, address, data, switches = [] } = window;
	return {
		stretches: [...switches, address, data].map((start) => ({ bar, start, end: start + 4 })),
		create: (host) => new WindowAccess(window, host),
	};
}

class WindowAccess implements BarQuirk {
	readonly #window: ConfigWindow;
	readonly #host: QuirkHost;
	/** What the guest has written to the address register, which it may do byte by byte. */
	readonly #address = new Uint8Array(4);
	/** The offset in configuration space that is selected, or -1. */
	#selected = -1;
	/** Bit n: switch n is on. */
	#switches = 0;

	constructor(window: ConfigWindow, host: QuirkHost) {
		this.#window = window;
		this.#host = host;
	}

	read(bar: number, offset: number, width: AccessWidth): number {
		// The device is read all the same, since reading may do something there.
		const value = this.#host.read(bar, offset, width);
		const at = offset - this.#window.data;
		return !this.#open || at < 0 || at > 3 ? value : this.#host.configRead(this.#selected + at, width);
	}

	write(bar: number, offset: number, width: AccessWidth, value: number): void {
		const at = offset - this.#window.data;
		if (at >= 0 && at < 4 && this.#open) {
			this.#host.configWrite(this.#selected + at, width, value);
			return;
		}
		this.#host.write(bar, offset, width, value);
		if (at >= 0 && at < 4) return;
		const flipped = this.#window.switches?.findIndex((start) => offset >= start && offset < start + 4) ?? -1;
		if (flipped >= 0) {
			if (offset === this.#window.switches?.[flipped])
				this.#switches = (this.#switches & ~(1 << flipped)) | ((value & 1) << flipped);
			return;
		}
		store(this.#address, offset - this.#window.address, width, value);
		this.#select(load(this.#address, 0, 4));
	}

	reset(): void {
		this.#address.fill(0);
		this.#selected = -1;
		this.#switches = 0;
	}

	get #open(): boolean {
		return this.#selected >= 0 && this.#switches === 2 ** (this.#window.switches?.length ?? 0) - 1;
	}

	#select(address: number): void {
		const match = this.#window.matches.find(({ value, mask }) => (address & ~mask) >>> 0 === value >>> 0);
		this.#selected = match ? (address & match.mask) >>> 0 : -1;
	}
}
