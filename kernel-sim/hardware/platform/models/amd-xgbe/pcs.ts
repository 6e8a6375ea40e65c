/**
 * The physical coding sublayer: clause 45 registers behind a window, and auto-negotiation that succeeds at once.
 *
 * @module
 */
import * as reg from "./registers.ts";

/** The registers of the PCS. */
export class Pcs {
	readonly #registers = new Map<number, number>();
	readonly #onInterrupt: (asserted: boolean) => void;
	#window = 0;

	/** @param onInterrupt the level of the auto-negotiation interrupt */
	constructor(onInterrupt: (asserted: boolean) => void) {
		this.#onInterrupt = onInterrupt;
	}

	reset(): void {
		this.#registers.clear();
		this.#window = 0;
		this.#update();
	}

	read(offset: number): number {
		return offset === reg.PCS_WINDOW_SELECT ? this.#window : this.#get(this.#address(offset));
	}

	write(offset: number, value: number): void {
		if (offset === reg.PCS_WINDOW_SELECT) {
			this.#window = value >>> 0;
			return;
		}
		const address = this.#address(offset);
		this.#registers.set(address, value & 0xffff);
		if (address === an(reg.MDIO_CTRL1)) this.#control(value);
		this.#update();
	}

	#control(value: number): void {
		this.#registers.set(an(reg.MDIO_CTRL1), value & ~(reg.MDIO_CTRL1_AN_RESTART | reg.MDIO_CTRL1_RESET));
		const wanted = reg.MDIO_CTRL1_AN_ENABLE | reg.MDIO_CTRL1_AN_RESTART;
		if ((value & wanted) !== wanted) return;
		this.#registers.set(an(reg.MDIO_STAT1), reg.MDIO_STAT1_LINK | reg.MDIO_STAT1_AN_COMPLETE);
		this.#registers.set(an(reg.MDIO_AN_INT), this.#get(an(reg.MDIO_AN_INT)) | reg.MDIO_AN_INT_COMPLETE);
	}

	#update(): void {
		this.#onInterrupt((this.#get(an(reg.MDIO_AN_INT)) & this.#get(an(reg.MDIO_AN_INTMASK))) !== 0);
	}

	/** The window selects all but the lowest eight bits of a register's number, which has its device in the upper half. */
	#address(offset: number): number {
		return this.#window * 256 + ((offset >>> 2) & 0xff);
	}

	#get(address: number): number {
		return this.#registers.get(address) ?? 0;
	}
}

/** A register of the auto-negotiation device. */
function an(register: number): number {
	return reg.MMD_AN * 65536 + register;
}
